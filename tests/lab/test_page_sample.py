"""The view Sample in a real browser: its samples are those of Python, and its jobs outlive the page."""

from pathlib import Path
from typing import Any

import numpy as np
from lab_tab import Tab, fill_in_small_job
from PIL import Image


def test_samples_of_two_settings_open_into_trajectories_and_are_those_of_python(tab: Tab, tmp_path: Path):
    page = tab.open("sample")
    fill_in_small_job(page)
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
    fill_in_small_job(page)
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
    fill_in_small_job(page)
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
