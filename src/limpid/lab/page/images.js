// Images of the lab on canvases, pixel by pixel; the stylesheet enlarges them without smoothing.

/** A canvas of this shape, [channels, height, width], and `paint(pixels)` for bytes in the order c, h, w. */
export function pixelCanvas([channels, height, width], label = "") {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  canvas.className = "pixels";
  const context = canvas.getContext("2d");
  const data = context.createImageData(width, height);
  const size = width * height;
  const [r, g, b, a] = { 1: [0, 0, 0], 2: [0, 0, 0, 1], 3: [0, 1, 2], 4: [0, 1, 2, 3] }[channels];
  const paint = (pixels) => {
    for (let i = 0, j = 0; i < size; i++) {
      data.data[j++] = pixels[r * size + i];
      data.data[j++] = pixels[g * size + i];
      data.data[j++] = pixels[b * size + i];
      data.data[j++] = a === undefined ? 255 : pixels[a * size + i];
    }
    context.putImageData(data, 0, 0);
  };
  return { canvas, paint };
}
