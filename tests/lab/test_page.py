"""The page in a real browser: every view, no error in its console, no request to another machine."""

import base64
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import pytest
import torch

from limpid.diffusion.level import Level, add_noise
from limpid.diffusion.schedules import Cosine, Karras, Schedule
from limpid.lab import noise
from limpid.lab.server import bound_socket, server_of
from limpid.lab.workspace import Workspace

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
TOKEN = "token-of-the-tests"


@dataclass
class Tab:
    """A tab of the browser, what its console said, and what it requested."""

    page: Any
    url: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, view: str) -> Any:
        self.page.goto(f"{self.url}/?token={TOKEN}#{view}")
        return self.page


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a lab that this process serves."""
    with bound_socket(0) as listener:
        port = listener.getsockname()[1]
        server = server_of(Workspace(), TOKEN, port)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Any, url: str) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(20_000)
    tab = Tab(context.new_page(), url)
    tab.page.on("console", lambda message: message.type == "error" and tab.errors.append(message.text))
    tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.page.on("request", lambda request: tab.requests.append(request.url))
    yield tab
    context.close()
    # A mistake that is answered in one line is in the console too: the browser reports every status of 400.
    assert [error for error in tab.errors if "400 (Bad Request)" not in error] == []
    assert [request for request in tab.requests if not request.startswith((f"{url}/", "blob:", "data:"))] == []


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
    tab.errors.clear()  # the browser reports the refusal
