"""The page under fingers, and by the keyboard alone."""

from io import BytesIO
from typing import Any

import numpy as np
from lab_tab import Tab
from PIL import Image

CONTROLS = "button, select, input:not([hidden], [type=checkbox]), nav a, label:has(> input)"
SMALL = """(controls) => [...document.querySelectorAll(controls)].filter((node) => node.offsetParent)
  .map((node) => [node.outerHTML.slice(0, 80), node.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 40 || height < 40).map(([html]) => html)"""
ALPHA = "(canvas) => Array.from(canvas.getContext('2d').getImageData(0, 0, 32, 32).data.filter((_, i) => i % 4 === 3))"
FOCUS = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"


def drag(page: Any, selector: str, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Move a finger over an element, from and to a share of its width and height."""
    target = page.locator(selector)
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    touch = page.context.new_cdp_session(page)
    for kind, share in (
        ("touchStart", 0.0),
        ("touchMove", 0.3),
        ("touchMove", 0.7),
        ("touchMove", 1.0),
        ("touchEnd", None),
    ):
        x, y = ((1 - (share or 0)) * a + (share or 0) * b for a, b in zip(begin, end, strict=True))
        points = [] if share is None else [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_fingers_find_every_control_move_the_level_and_paint_a_mask(tablet: Tab):
    page = tablet.open("noise")
    page.locator("figure:last-child", has_text="images").wait_for()
    drag(page, ".level input", (0.3, 0.5), (0.8, 0.5))
    page.locator(".where", has_text="u = 0.8").wait_for()
    assert page.evaluate(SMALL, CONTROLS) == []
    for view in ("Learn", "Sample", "Compare", "Edit"):
        page.get_by_role("link", name=view).tap()
        page.locator("aside").wait_for()
        assert (view, page.evaluate(SMALL, CONTROLS)) == (view, [])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("tab", name="Inpaint").tap()
    page.get_by_label("Image from").select_option("file")
    file = BytesIO()
    Image.effect_mandelbrot((40, 40), (-2, -1, 1, 1), 40).save(file, "png")
    image = {"name": "a.png", "mimeType": "image/png", "buffer": file.getvalue()}
    page.locator("input[type=file]").set_input_files(image)
    drag(page, "canvas.mask", (0.25, 0.5), (0.75, 0.5))
    painted = np.reshape(page.locator("canvas.mask").evaluate(ALPHA), (32, 32)) > 0
    assert painted[16, 8:24].all()
    assert not painted[:8].any()


def test_a_group_of_buttons_is_one_stop_of_the_tab_key_and_enter_in_a_field_generates(tab: Tab):
    page = tab.open("sample")
    page.locator(".chips button").first.wait_for()
    page.get_by_label("Model", exact=True).focus()
    for key, reached in (
        *(("Tab", "all"), ("ArrowRight", "no label"), ("ArrowDown", "automobile")),
        *(("ArrowRight", "bird"), ("ArrowUp", "airplane"), ("Tab", "Samples")),
    ):
        page.keyboard.press(key)
        assert page.evaluate(FOCUS) == reached
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.type("101")
    page.keyboard.press("Enter")
    page.locator(".act .error", has_text="expected 1 to 100").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Keys").wait_for(state="hidden")
