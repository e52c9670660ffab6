"""The page in a real browser: every view, no error in its console, no request to another machine."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_tab import TOKEN, Tab
from PIL import Image

from limpid.diffusion.level import Level, add_noise
from limpid.diffusion.schedules import Cosine, Karras, Schedule
from limpid.lab import noise
from limpid.lab.workspace import Workspace

X_OF_THE_PAGE = """async ([source, index, seed, schedule, i]) => {
  const { ask, decode } = await import("/api.js");
  const { addNoise } = await import("/diffusion.js");
  const { x0, eps } = await ask("noise/image", { source, index, seed });
  const levels = await ask("noise/levels", { schedule });
  const [clean, noise] = [decode(x0, Float32Array), decode(eps, Float32Array)];
  const x = addNoise(clean, noise, levels.alpha[i], levels.sigma[i], new Float32Array(clean.length));
  return btoa(String.fromCharCode(...new Uint8Array(x.buffer)));
}"""


@pytest.mark.parametrize("schedule", [Cosine(), Karras()])
def test_x_of_the_page_is_that_of_add_noise_bit_for_bit(tab: Tab, schedule: Schedule):
    page = tab.open("noise")
    query = noise.ImageQuery("digits", 5, 7)
    x0, eps = noise.image_and_noise(noise.dataset_of(Workspace(), "digits"), query)
    for i in (0, 1, 500, 1000):
        level = schedule(torch.tensor([i / 1000], dtype=torch.float64))
        expected = add_noise(x0[None], eps[None], Level(level.alpha, level.sigma))
        found = page.evaluate(X_OF_THE_PAGE, ["digits", 5, 7, type(schedule).__name__, i])
        assert base64.b64decode(found) == expected.numpy().tobytes()


PIXELS = """(label) => Array.from(document.querySelector(`canvas[aria-label="${label}"]`).getContext("2d")
  .getImageData(0, 0, 16, 16).data.filter((_, i) => i % 4 === 0))"""


def test_noise_shows_every_level_with_its_numbers_and_needs_one_request_for_an_image(tab: Tab):
    page = tab.open("noise")
    page.wait_for_selector(".thumbnails button")
    page.locator(".where", has_text="t = 300").wait_for()
    slider = page.get_by_role("slider")
    slider.fill("0")
    page.locator(".where", has_text="u = 0.000").wait_for()
    assert page.evaluate(PIXELS, "The image with noise") == page.evaluate(PIXELS, "The image")
    slider.press("ArrowRight")
    page.locator(".where", has_text="t = 1 of 1000").wait_for()
    slider.fill("1000")
    page.locator(".formulas", has_text="0.006 x₀ + 1.000 ε").wait_for()
    page.locator("figure:last-child", has_text="a mean of 1800 images").wait_for()
    assert page.locator("svg.chart").count() == 4
    assert sum(request.endswith("noise/image") for request in tab.requests) == 1


def test_two_schedules_are_compared_and_a_wrong_number_is_named_beside_its_field(tab: Tab):
    page = tab.open("noise")
    page.get_by_label("two").check()
    form = page.locator(".form.b")
    form.locator("select").first.select_option("RectifiedFlow")
    page.locator(".formulas .b", has_text="0.700 x₀ + 0.300 ε").wait_for()
    form.get_by_label("shift", exact=True).fill("three")
    form.locator(".error").filter(has_text="shift is 'three': expected a number").wait_for()
    form.get_by_label("shift", exact=True).fill("2")
    form.locator(".error").wait_for(state="hidden")
    page.locator(".formulas .b", has_text="0.538 x₀ + 0.462 ε").wait_for()


def test_noise_is_worked_by_keys_and_comes_back_after_a_reload(tab: Tab):
    page = tab.open("noise")
    page.wait_for_selector(".thumbnails button[aria-pressed=true]")
    page.get_by_label("Image", exact=True).last.fill("9")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    page.locator("main").focus()
    page.keyboard.press("n")
    page.locator(".thumbnails button:nth-child(10)[aria-pressed=true]").wait_for()
    page.keyboard.press(" ")
    page.locator(".where", has_not_text="t = 300").wait_for()
    page.keyboard.press(" ")
    page.keyboard.press("d")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("?")
    assert page.locator("dialog").get_by_text("other noise").is_visible()
    page.keyboard.press("Escape")
    page.reload()
    page.locator(".thumbnails button:nth-child(10)[aria-pressed=true]").wait_for()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert TOKEN not in page.url


def small_job(page: Any, n: int = 4) -> None:
    page.get_by_role("button", name="horse", exact=True).click()
    page.get_by_label("Samples", exact=True).fill(str(n))
    page.get_by_label("steps", exact=True).fill("2")


def test_samples_of_two_settings_open_into_trajectories_and_are_those_of_python(tab: Tab, tmp_path: Path):
    page = tab.open("sample")
    small_job(page)
    page.get_by_label("Add a setting").click()
    page.get_by_label("sampler", exact=True).select_option("Heun")
    page.locator("main").focus()
    page.keyboard.press("g")
    page.locator(".result.b", has_text="3 NFE").wait_for()
    assert "Heun, 2 steps" in page.locator(".result.b").inner_text()
    code = page.locator(".result.b pre").all_text_contents()
    assert code[0] == "limpid sample cifar10-small --num-samples 4 --seed 0 --labels horse --steps 2 --sampler Heun"
    page.locator(".result.a .grid button").nth(2).press("Enter")
    dialog, requests = page.get_by_role("dialog"), len(tab.requests)
    dialog.get_by_text("Seed 2, horse").wait_for()
    assert dialog.locator("canvas").count() == 4
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
    dialog.get_by_text("Seed 3, horse").wait_for()
    assert dialog.get_by_text("x B at σ/α = 80").is_visible()
    page.keyboard.press("Escape")
    assert len(tab.requests) == requests
    for button, suffix in (("PNG", "png"), ("npz", "npz"), ("Animation", "webp")):
        with page.expect_download() as download:
            page.locator(".result.b").get_by_role("button", name=button).click()
        assert download.value.suggested_filename == f"cifar10-small-b.{suffix}"
        download.value.save_as(tmp_path / f"b.{suffix}")
    found: dict[str, Any] = {}
    exec(code[1], found)  # the lines of Python that the page shows
    with np.load(tmp_path / "b.npz") as arrays:
        difference = np.abs(arrays["images"].astype(int) - np.asarray(found["samples"]).astype(int))
    assert difference.max() <= 1  # the number of threads may change a last bit
    with Image.open(tmp_path / "b.webp") as animation:
        assert getattr(animation, "n_frames", 1) == 3


def test_a_job_is_found_again_after_a_reload_and_in_another_tab_and_is_cancelled(tab: Tab):
    page = tab.open("sample")
    small_job(page)
    page.get_by_label("steps", exact=True).fill("1000")
    page.get_by_role("button", name="Generate").click()
    page.get_by_text("step 1").first.wait_for()
    page.reload()
    other = page.context.new_page()
    other.goto(page.url)  # the token is known to this browser
    other.get_by_text("of 1000").wait_for()
    page.get_by_role("button", name="Cancel").click()
    for each in (page, other):
        each.get_by_text("Cancelled.").wait_for()
    assert [each.locator(".result .facts").count() for each in (page, other)] == [0, 0]


def test_what_goes_wrong_in_sample_is_said_where_it_is(tab: Tab):
    page = tab.open("sample")
    small_job(page)
    page.get_by_label("steps", exact=True).fill("two")
    page.get_by_role("button", name="Generate").click()
    page.locator(".form .error", has_text="steps is 'two': expected a whole number").wait_for()
    page.get_by_label("steps", exact=True).fill("2")
    page.get_by_label("Samples", exact=True).fill("101")
    page.get_by_role("button", name="Generate").click()
    page.locator(".act .error", has_text="samples 101: expected 1 to 100").wait_for()
    page.get_by_label("Samples", exact=True).fill("1")
    page.get_by_role("button", name="no label").click()
    page.get_by_label("scale", exact=True).fill("2")
    page.get_by_role("button", name="Generate").click()
    page.get_by_role("alert").filter(has_text="guidance needs labels, or a weaker model").wait_for()
    assert page.locator(".form .error", has_text="steps is").count() == 0  # what was put right is no longer named


def test_a_page_without_the_token_says_what_to_open(tab: Tab):
    tab.page.goto(f"{tab.url}/#noise")
    tab.page.get_by_role("alert").filter(has_text="open the address that limpid lab printed").wait_for()
    assert [error for error in tab.errors if "403" not in error and "401" not in error] == []
    assert tab.errors.pop()  # the browser reports the refusal
    tab.errors.clear()


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
    small_job(page, 2)
    page.get_by_role("button", name="Generate").click()
    # The samples of the test before, by two settings, are shown until these are there.
    page.locator(".result .facts", has_text="2 NFE").first.wait_for()
    page.locator(".result .facts", has_text="3 NFE").wait_for(state="detached")
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
