"""A lab that is served, and a real browser: one of each for the tests of a file."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from lab_tab import TOKEN, Tab

from limpid.lab.server import bound_socket, server_of
from limpid.lab.workspace import Workspace

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
"""What each test saw at its end; not part of the repository."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs of the lab, which is empty at first."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def url(runs: Path) -> Iterator[str]:
    """The address of a lab that this process serves."""
    with bound_socket(0) as listener:
        port = listener.getsockname()[1]
        server = server_of(Workspace(new_runs=runs), TOKEN, port)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Any, url: str, request: pytest.FixtureRequest) -> Iterator[Tab]:
    """A tab of a small laptop."""
    with watched_tab(browser, url, request, viewport={"width": 1280, "height": 720}) as tab:
        yield tab


@pytest.fixture
def tablet(browser: Any, url: str, request: pytest.FixtureRequest) -> Iterator[Tab]:
    """A tab of a tablet, which is touched."""
    with watched_tab(browser, url, request, viewport={"width": 820, "height": 1180}, has_touch=True) as tab:
        yield tab


@contextmanager
def watched_tab(browser: Any, url: str, request: pytest.FixtureRequest, **options: Any) -> Iterator[Tab]:
    """A tab, in which neither an error of the console nor a request to another machine is allowed."""
    context = browser.new_context(**options)
    context.set_default_timeout(300_000)  # a busy machine takes long to import torch
    tab = Tab(context.new_page(), url)
    context.on("console", lambda message: message.type == "error" and tab.errors.append(message.text))
    context.on("weberror", lambda error: tab.errors.append(str(error.error)))
    context.on("request", lambda request: tab.requests.append(request.url))
    yield tab
    SCREENSHOTS.mkdir(exist_ok=True)
    tab.page.screenshot(path=SCREENSHOTS / f"{request.node.originalname}.png")
    context.close()
    # A mistake that is answered in one line is in the console too: the browser reports every status of 400.
    assert [error for error in tab.errors if "400 (Bad Request)" not in error] == []
    assert [request for request in tab.requests if not request.startswith((f"{url}/", "blob:", "data:"))] == []
