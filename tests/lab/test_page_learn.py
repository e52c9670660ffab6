"""The view Learn in a real browser: runs that are trained from it, and runs that appear in it."""

import json
from pathlib import Path
from typing import Any

from lab_tab import Tab
from PIL import Image

from limpid.recipes.registry import find_recipe
from limpid.recipes.serialize import to_dict

TINY = {"network.model_channels": "8", "sampling.steps": "2", "every.log": "320", "every.sample": "960"}
"""Fields of the recipe demo, so that 3,840 images are seconds."""


def fill(page: Any, **fields: str) -> None:
    """Fill in fields of the recipe, by their path."""
    page.get_by_label("duration", exact=True).wait_for()
    page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
    for path, value in fields.items():
        page.locator(f"[data-path='.{path}'] input").fill(value)


def write_line(run: Path, images_seen: int, **line: Any) -> None:
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps({"images_seen": images_seen} | line) + "\n")


def test_a_run_is_trained_stopped_and_finished_from_the_page_and_shown_while_it_learns_in_every_tab(tab: Tab):
    page = tab.open("learn")
    page.get_by_text("No run is in").wait_for()
    fill(page, **{"optimizer.lr": "fast"})
    page.get_by_role("button", name="Start training").click()
    page.locator(".form .error", has_text="optimizer.lr is 'fast': expected a number").wait_for()
    fill(page, **{"optimizer.lr": "0.001", "duration": "3840"}, **TINY)
    assert page.locator(".doc", has_text="Intervals, in images").is_visible()
    page.get_by_role("button", name="Start training").click()
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="Start training").click()
    other.locator(".act .error", has_text="demo is in training: stop it, or wait").wait_for()
    page.locator(".learnt img[src]").first.wait_for()
    page.get_by_role("button", name="Stop and save").click()
    other.get_by_role("button", name="Go on").wait_for()
    page.reload()
    page.get_by_role("button", name="Go on").click()
    page.locator(".head .where", has_text="finished").wait_for()
    page.locator(".where", has_text="after 3,840 images").wait_for()
    page.keyboard.press("ArrowLeft")
    page.locator(".where", has_text="after 2,880 images").wait_for()
    assert page.locator(".chart .curve.a").first.get_attribute("d").count("L") == 11
    assert page.get_by_label("Name of the run").input_value() == "demo-2"
    other.locator(".head .where", has_text="finished").wait_for()


def test_a_run_of_another_process_appears_grows_and_is_laid_over_others(tab: Tab, runs: Path):
    page = tab.open("learn")
    for name in ("first", "second"):
        (runs / name / "samples").mkdir(parents=True)
        (runs / name / "recipe.json").write_text(json.dumps(to_dict(find_recipe("demo"))))
        page.locator(".run", has_text=name).get_by_role("checkbox").check()
    page.get_by_role("checkbox", name="first").focus()
    for images_seen in (640, 1280):
        write_line(runs / "second", images_seen, loss=0.5, lr=0.1, grad_norm=1.0, images_per_second=200.0)
        page.locator(".head", has_text=f"{images_seen:,} of 24,000 images · loss 0.5 · 200 images/s").wait_for()
    with (runs / "second" / "log.jsonl").open("a") as log:
        log.write("half a li\n")
    page.locator(".legend", has_text="1 damaged line of the log of second is left out").wait_for()
    write_line(runs / "second", 1280, fid=12.5)
    page.locator(".chart", has_text="fid").get_by_text("12.5").wait_for()
    for name in ("first", "second"):
        Image.new("L", (8, 8)).save(runs / name / "samples" / "000000000640.png")
    for name in ("first", "second"):
        page.locator(f".learnt img[src][alt='Samples of {name}, after 640 images']").wait_for()
    assert page.evaluate("document.activeElement.closest('.run')?.title.split('/').pop()") == "first"


def test_a_run_that_ends_badly_shows_the_line_of_its_error(tab: Tab):
    page = tab.open("learn")
    fill(page, **{"network.channel_mult": "1, 1, 1, 1, 1, 1, 1, 1"})
    page.get_by_label("Name of the run").fill("bad")
    page.get_by_role("button", name="Start training").click()
    page.locator(".head .where", has_text="failed").wait_for()
    assert "16" in page.locator(".head .error").inner_text()


def test_a_run_that_failed_before_the_lab_was_started_shows_its_error_and_can_go_on(tab: Tab, runs: Path):
    (runs / "failed").mkdir(parents=True)
    (runs / "failed" / "failure.json").write_text('{"error": "losses are not finite"}')
    (runs / "failed" / "recipe.json").write_text(json.dumps(to_dict(find_recipe("demo"))))
    page = tab.open("learn")
    page.locator(f".run[title='{runs / 'failed'}']").get_by_role("checkbox").check()
    page.locator(".head .error", has_text="losses are not finite").wait_for()
    assert page.locator(".head", has_text="losses are not finite").get_by_role("button", name="Go on").is_visible()
