"""Sample images with denoiser.onnx and sampler.json: numpy and onnxruntime are all that this needs.

    python draw.py --n 16 --seed 0 --out samples.png

A sampler is rows of numbers: x' = keep x + sum_i predictions[i] x0_i + sum_j noises[j] eps_j, with x0_0 the newest
prediction of the network and eps_j new noise. The x of the last row is the image.
"""

import argparse
import hashlib
import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

EXPORTED = Path(__file__).parent
Predict = Callable[[np.ndarray, dict[str, Any]], tuple[np.ndarray, np.ndarray | None]]


def torch_noise(seed: int, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The noise of one image of limpid, again and again: the same as torch's, but for the last bit of some numbers.

    torch's generator on a CPU is MT19937, and its normal numbers are Box and Muller's, 16 at a time.
    """
    address = hashlib.blake2b(repr(("picture", seed)).encode(), digest_size=8).digest()
    bits = np.random.RandomState(int.from_bytes(address, "little") >> 1 & 0xFFFFFFFF)
    n = int(np.prod(shape))
    assert n >= 16, "smaller images have another noise in torch"

    def uniform(count: int) -> np.ndarray:
        return (bits.randint(0, 2**32, count, dtype=np.uint32) & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)

    def normal(u: np.ndarray) -> np.ndarray:
        u = u.reshape(-1, 2, 8)
        radius, angle = np.sqrt(-2 * np.log(1 - u[:, 0])), np.float32(2 * np.pi) * u[:, 1]
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()

    while True:
        u = uniform(n)
        image = np.concatenate([normal(u[: n - n % 16]), u[n - n % 16 :]])
        if n % 16:
            image[-16:] = normal(uniform(16))
        yield image.reshape(shape)


def batch_noise(seeds: list[int], shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Noise for a batch with one seed for each image."""
    yield from map(np.stack, zip(*(torch_noise(seed, shape) for seed in seeds), strict=True))


def onnx_predict(spec: dict[str, Any], labels: np.ndarray | None) -> Predict:
    """E[x0 | x] at the level of a row, guided and clipped, and the fraction of the large variance if there is one."""
    guidance = spec["guidance"]
    main = onnxruntime.InferenceSession(EXPORTED / "denoiser.onnx", providers=["CPUExecutionProvider"])
    other = main
    if guidance["model"]:
        other = onnxruntime.InferenceSession(EXPORTED / guidance["model"], providers=["CPUExecutionProvider"])

    def weaker_labels(n: int) -> np.ndarray | None:
        if guidance["null_label"] is None:
            return None
        return labels if guidance["model"] and labels is not None else np.full(n, guidance["null_label"])

    def run(session: Any, x: np.ndarray, row: dict[str, Any], labels: np.ndarray | None) -> list[np.ndarray]:
        inputs = {"x": x, "alpha": np.full(len(x), row["alpha"]), "sigma": np.full(len(x), row["sigma"])}
        return session.run(None, inputs if labels is None else inputs | {"labels": labels})

    def predict(x: np.ndarray, row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
        x0, *fraction = run(main, x, row, labels)
        if row["guided"]:
            x0 = apply_guidance(x0, run(other, x, row, weaker_labels(len(x)))[0], guidance)
        return (np.clip(x0, -1, 1) if spec["clip"] else x0), (fraction[0] if fraction else None)

    return predict


def apply_guidance(x0: np.ndarray, weaker: np.ndarray, guidance: dict[str, Any]) -> np.ndarray:
    """x0 pushed away from a weaker prediction, and brought back to its standard deviation by the share `rescale`."""
    rescale = guidance["rescale"]
    away = weaker + guidance["scale"] * (x0 - weaker)
    if not rescale:
        return away
    std, away_std = (value.std((1, 2, 3), ddof=1, keepdims=True) for value in (x0, away))
    return away * (1 + rescale * (std / away_std - 1))


def sample(rows: list[dict[str, Any]], predict: Predict, noise: Iterator[np.ndarray]) -> np.ndarray:
    """Images in [-1, 1] by the rows of a sampler."""
    x: Any = 0.0
    fraction: Any = None
    predictions: list[np.ndarray] = []
    memory = max(len(row["predictions"]) for row in rows)
    for number, row in enumerate(rows, 1):
        x = row["keep"] * x + sum(weight * x0 for weight, x0 in zip(row["predictions"], predictions, strict=False))
        for weight in row["noises"]:
            eps = next(noise)
            ratio = row.get("variance_ratio")
            x = x + weight * (eps if ratio is None else eps * np.float32(ratio) ** fraction)
        if number < len(rows):
            x0, fraction = predict(x, row)
            predictions = [x0, *predictions][:memory]
            print(f"\r{number} of {len(rows) - 1} evaluations", end="", file=sys.stderr)
    print(file=sys.stderr)
    return x


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 pixels (h, w, c) with 1 to 4 channels."""
    h, w, c = pixels.shape
    rows = np.concatenate([np.zeros((h, 1), np.uint8), pixels.reshape(h, w * c)], 1)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", w, h, 8, (0, 4, 2, 6)[c - 1], 0, 0, 0),
        b"IDAT": zlib.compress(rows.tobytes(), 9),
        b"IEND": b"",
    }
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts.items()]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def grid(images: np.ndarray) -> np.ndarray:
    """Images (n, c, h, w) in [-1, 1] as one uint8 image (h, w, c), about as wide as high."""
    pixels = np.clip(images * 127.5 + 128, 0, 255).astype(np.uint8)
    n, c, h, w = pixels.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    sheet = np.full((rows * columns, c, h + 1, w + 1), 255, np.uint8)
    sheet[:n, :, :h, :w] = pixels
    return sheet.reshape(rows, columns, c, h + 1, w + 1).transpose(0, 3, 1, 4, 2).reshape(rows * (h + 1), -1, c)


def labels_of(words: list[str], names: list[str], n: int, null: int | None) -> np.ndarray | None:
    """A label for each of n images: of the named classes in equal blocks, of all classes, or of none."""
    if not names:
        return None
    if words == ["none"]:
        if null is None:
            raise SystemExit("draw.py: this model was trained with a label for every image, so not --labels none")
        return np.full(n, null)
    known = {str(number): number for number in range(len(names))} | {name: i for i, name in enumerate(names)}
    if unknown := [word for word in words if word not in known]:
        raise SystemExit(f"draw.py: no class {unknown[0]!r}: choose from {', '.join(names)}")
    classes = [known[word] for word in words] or list(range(len(names)))
    return np.array([classes[i * len(classes) // n] for i in range(n)])


def main() -> None:
    """`python draw.py [options]`."""
    spec = json.loads((EXPORTED / "sampler.json").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description="Sample images.", epilog=f"samplers: {sampler_names(spec)}")
    parser.add_argument("--n", type=int, default=16, help="how many images")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first image; the next has the next seed")
    parser.add_argument("--labels", nargs="+", default=[], metavar="CLASS", help="classes by name or number, or none")
    parser.add_argument("--sampler", type=int, default=0, help="number of the sampler in sampler.json, from 0")
    parser.add_argument(
        "--noise", "--seed-file", type=Path, help=".npy of noise, (draws, n, c, h, w), instead of seeds"
    )
    parser.add_argument("--out", type=Path, default=Path("samples.png"), help=".png of all images")
    parser.add_argument("--save", type=Path, help=".npy of the images, (n, c, h, w) in [-1, 1]")
    options = parser.parse_args()
    n, shape = options.n, tuple(spec["image_shape"])
    noise = batch_noise(list(range(options.seed, options.seed + n)), shape)
    if options.noise:
        noise = iter(np.load(options.noise).astype(np.float32).reshape(-1, n, *shape))
    predict = onnx_predict(spec, labels_of(options.labels, spec["class_names"], n, spec["null_label"]))
    images = sample(spec["samplers"][options.sampler]["rows"], predict, noise)
    options.out.write_bytes(png(grid(images)))
    print(options.out)
    if options.save:
        np.save(options.save, images)
        print(options.save)


def sampler_names(spec: dict[str, Any]) -> str:
    """The samplers to choose from, with their numbers."""
    return "; ".join(f"{number} is {entry['name']}" for number, entry in enumerate(spec["samplers"]))


if __name__ == "__main__":
    main()
