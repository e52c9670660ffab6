"""The view Learn in a real browser: runs that are trained from it, and runs that appear in it."""

from typing import Any

from lab_tab import Tab

TINY = {"network.model_channels": "8", "sampling.steps": "2", "every.log": "320", "every.sample": "320"}
"""Fields of the recipe demo, so that 3,840 images are seconds."""


def fill(page: Any, **fields: str) -> None:
    """Fill in fields of the recipe, by their path."""
    page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
    for path, value in fields.items():
        page.locator(f"[data-path='.{path}'] input").fill(value)


def test_a_run_is_trained_stopped_and_finished_from_the_page_and_shown_while_it_learns(tab: Tab):
    page = tab.open("learn")
    page.get_by_text("No run is in").wait_for()
    fill(page, **{"optimizer.lr": "fast"})
    page.get_by_role("button", name="Start training").click()
    page.locator(".form .error", has_text="optimizer.lr is 'fast': expected a number").wait_for()
    fill(page, **{"optimizer.lr": "0.001", "duration": "3840"}, **TINY)
    page.get_by_role("button", name="Start training").click()
    page.locator(".learnt img[src]").first.wait_for()
    page.get_by_role("button", name="Stop and save").click()
    page.get_by_role("button", name="Go on").wait_for()
    page.reload()
    page.get_by_role("button", name="Go on").click()
    page.locator(".head .where", has_text="finished").wait_for()
    page.locator(".where", has_text="after 3,840 images").wait_for()
    page.keyboard.press("ArrowLeft")
    page.locator(".where", has_text="after 3,520 images").wait_for()
    assert page.locator(".chart .curve.a").first.get_attribute("d").count("L") >= 10
    assert page.get_by_label("Name of the run").input_value() == "demo-2"
