"""The view Noise in a real browser: its x is that of `add_noise`, and its controls do what their names promise."""

import base64

import pytest
import torch
from lab_tab import TOKEN, Tab

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


def test_a_page_without_the_token_says_what_to_open(tab: Tab):
    tab.page.goto(f"{tab.url}/#noise")
    tab.page.get_by_role("alert").filter(has_text="open the address that limpid lab printed").wait_for()
    assert [error for error in tab.errors if "403" not in error and "401" not in error] == []
    assert tab.errors.pop()  # the browser reports the refusal
    tab.errors.clear()
