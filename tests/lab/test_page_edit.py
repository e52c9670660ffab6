"""The view Edit in a real browser: a file, a mask that is painted, and two seeds."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
from lab_tab import Tab, fill_in_small_job
from PIL import Image

PIXELS_OF_ALL = """(labels) => labels.map((label) => {
  const canvas = document.querySelector(`canvas[aria-label="${label}"]`);
  return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data); })"""
DROP = """async ([name, content]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name));
  const drop = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.querySelector(".stage").dispatchEvent(drop);
}"""


def drop_image(page: Any, folder: Path) -> None:
    """Drop a photograph of another size on the view Edit."""
    Image.effect_mandelbrot((90, 60), (-2, -1, 1, 1), 40).convert("RGB").save(folder / "mandelbrot.png")
    page.evaluate(DROP, ["mandelbrot.png", base64.b64encode((folder / "mandelbrot.png").read_bytes()).decode()])
    page.locator(".original", has_text="mandelbrot.png").wait_for()


def generate_edit(page: Any) -> None:
    page.get_by_label("Steps", exact=True).fill("2")
    page.get_by_role("button", name="Generate").click()


def test_a_dropped_file_is_edited_and_the_downloads_and_the_command_make_the_same(tab: Tab, tmp_path: Path):
    page = tab.open("edit")
    page.get_by_role("tab", name="img2img").wait_for()
    drop_image(page, tmp_path)
    page.get_by_label("Class", exact=True).select_option("horse")
    page.get_by_role("slider", name="Strength").fill("70")
    page.get_by_label("Variations").fill("2")
    generate_edit(page)
    page.locator("figcaption", has_text="strength 0.7").wait_for()
    page.get_by_role("button", name="Seed 1").click()
    page.locator("figcaption", has_text="result seed 1").wait_for()
    for button, name in (("Result as PNG", "result.png"), ("npz", "samples.npz"), ("Image", "image.png")):
        with page.expect_download() as download:
            page.locator(".downloads").get_by_role("button", name=button, exact=True).click()
        download.value.save_as(tmp_path / name)
    with Image.open(tmp_path / "image.png") as image:
        assert image.size == (32, 32)
    command = page.locator(".outcome pre").first.text_content()
    assert command.startswith("limpid edit img2img cifar10-small --images image.png image.png --strengths 0.7")


def test_a_mask_is_painted_by_mouse_and_all_but_the_painted_part_stays(tab: Tab, tmp_path: Path):
    page = tab.open("edit")
    page.get_by_role("tab", name="Inpaint").click()
    drop_image(page, tmp_path)
    page.get_by_label("Variations").fill("1")
    page.get_by_label("Times each step").fill("1")
    generate_edit(page)
    page.locator(".act .error", has_text="the mask covers nothing").wait_for()
    box = page.locator("canvas.mask").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 3 / 4, box["y"] + box["height"] / 2)
    page.mouse.up()
    page.get_by_role("button", name="Generate").click()
    page.locator(".outcome .strip").wait_for()
    labels = ["The image", "The mask", "The known part", "The result"]
    image, mask, known, result = (np.reshape(one, (32, 32, 4)) for one in page.evaluate(PIXELS_OF_ALL, labels))
    painted = mask[..., 3] > 0
    assert painted[16, 8:24].all()
    assert 16 <= painted.sum() < 200
    for kept in (result, known):
        assert (image == kept)[~painted].all()
        assert (image != kept)[painted].any()
    page.get_by_role("button", name="invert").click()
    page.reload()
    page.locator("canvas.mask").wait_for()
    (again,) = page.evaluate(PIXELS_OF_ALL, ["The mask"])
    assert ((np.reshape(again, (32, 32, 4))[..., 3] > 0) == ~painted).all()


def test_between_two_seeds_the_slider_needs_no_request_and_a_sample_can_be_edited_further(tab: Tab):
    page = tab.open("sample")
    fill_in_small_job(page, 2)
    page.get_by_role("button", name="Generate").click()
    page.locator(".result .facts").first.wait_for()
    page.get_by_role("link", name="Edit").click()
    page.get_by_role("tab", name="Two seeds").click()
    page.get_by_label("Images", exact=True).last.fill("3")
    generate_edit(page)
    page.locator(".film").wait_for()
    requests = len(tab.requests)
    shown = []
    page.locator("main").focus()
    for _ in range(3):
        shown += page.evaluate(PIXELS_OF_ALL, ["The sample between the two seeds"])
        page.keyboard.press("ArrowRight")
    ends = page.evaluate(PIXELS_OF_ALL, ["The sample of seed 0", "The sample of seed 1"])
    assert [shown[0], shown[2]] == ends
    assert shown[1] not in ends
    assert len(tab.requests) == requests
    page.get_by_role("tab", name="img2img").click()
    page.get_by_label("Image from").select_option("samples")
    page.locator(".thumbnails button").nth(1).click()
    page.locator(".original", has_text="sample of seed 1").wait_for()
    page.get_by_label("Image from").select_option("file")
    page.locator("input[type=file]").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    page.locator("aside .error", has_text="it is in no known format").wait_for()
