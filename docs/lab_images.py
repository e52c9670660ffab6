"""Makes the images of lab.md: `python docs/lab_images.py RUN ...` serves a lab and opens its views in a browser.

Two of the runs have scores, and the newest has samples along training. It needs the extra `lab`, playwright and
Debian's chromium, and takes about a minute.
"""

import shutil
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from limpid.lab.server import bound_socket, server_of
from limpid.lab.workspace import Workspace

FOLDER, TOKEN = Path(__file__).parent, "token-of-the-images"
COLORS = 96
"""Colours of an image, few enough for less than 150 kB."""


def noise(page: Any) -> None:
    """Two schedules, and what the exact denoiser makes of both."""
    page.get_by_label("two").check()
    page.locator("figure:last-child", has_text="a mean of").wait_for()


def learn(page: Any) -> None:
    """The newest run: its curves and its last samples."""
    page.locator(".learnt img[src]").first.wait_for()
    page.wait_for_timeout(2000)


def sample(page: Any) -> None:
    """Two settings from the same seeds."""
    page.get_by_label("Samples", exact=True).fill("40")
    page.get_by_label("Add a setting").click()
    page.get_by_label("steps", exact=True).fill("5")
    page.get_by_role("button", name="Generate").click()
    page.locator(".result.b .facts").wait_for()


def inpaint(page: Any) -> None:
    """The lower half of a training image, generated anew."""
    page.get_by_role("tab", name="Inpaint").click()
    page.locator(".thumbnails button").nth(8).click()
    page.get_by_label("Class", exact=True).select_option("ship")
    page.get_by_label("Steps", exact=True).fill("20")
    page.get_by_role("button", name="bottom").click()
    page.get_by_role("button", name="Generate").click()
    page.locator(".strip").wait_for()


def seeds(page: Any) -> None:
    """An interpolation between two seeds."""
    page.get_by_role("tab", name="Two seeds").click()
    page.get_by_label("Class", exact=True).select_option("horse")
    page.get_by_label("Images", exact=True).last.fill("12")
    page.get_by_label("Steps", exact=True).fill("12")
    page.get_by_role("button", name="Generate").click()
    page.locator(".film").wait_for()
    page.get_by_role("slider").last.fill("5")
    page.keyboard.press("Escape")


def scores(page: Any) -> None:
    """The scores of the first two runs that have some."""
    page.locator(".comparison tbody tr").first.wait_for()


def compare(page: Any) -> None:
    """The training images that are nearest to a sample of the shipped network."""
    page.get_by_role("link", name="Sample").click()
    page.get_by_label("Samples", exact=True).fill("18")
    page.get_by_role("button", name="Generate").click()
    page.locator(".result .facts").wait_for()
    page.get_by_role("link", name="Compare").click()
    page.get_by_role("tab", name="Is it a copy?").click()
    page.locator(".thumbnails button").nth(2).click()
    page.locator(".neighbours").wait_for()


VIEWS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "noise": ("noise", noise),
    "learn": ("learn", learn),
    "sample": ("sample", sample),
    "inpaint": ("edit", inpaint),
    "seeds": ("edit", seeds),
    "scores": ("compare", scores),
    "compare": ("noise", compare),
}


def save(shot: bytes, name: str) -> None:
    """Write a screenshot as a small PNG, whose palette has the colours of thin curves too."""
    with Image.open(BytesIO(shot)) as image:
        small = image.convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    small.save(FOLDER / f"lab-{name}.png", optimize=True)


def main(runs: list[str]) -> None:
    """Write an image of each view, in the dark theme of every other one."""
    with bound_socket(0) as listener, sync_playwright() as driver:
        port = listener.getsockname()[1]
        server = server_of(Workspace(tuple(map(Path, runs))), TOKEN, port)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            for i, (name, (view, prepare)) in enumerate(VIEWS.items()):
                theme = "dark" if i % 2 else "light"
                page = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme=theme)
                page.set_default_timeout(600_000)
                page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}#{view}")
                prepare(page)
                save(page.screenshot(), name)
                page.close()
        finally:
            browser.close()
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main(sys.argv[1:])
