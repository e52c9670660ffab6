"""What several rooms of tests need."""

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Protocol

import pytest
import torch

from limpid.runtime.log import printed_log

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared" / "cifar10"
UNPACKED = REPOSITORY / ".cache" / "cifar10"


# Small tensors gain nothing from threads, and processes whose threads wait for one another on shared cores crawl.
torch.set_num_threads(1)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are cores: tests that wait for a browser or a process leave a core to others."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Draws that a test makes without a generator of its own are the same in every run."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def log_as_of_a_command() -> Iterator[None]:
    """What is logged in a test is printed as the commands print it."""
    with printed_log():
        yield


@pytest.fixture(scope="session")
def cifar_root() -> Path:
    """A folder with the real CIFAR-10 in its official layout, for tests of real images."""
    if not SHARED.is_dir():
        pytest.skip("real CIFAR-10 is not at ../shared/cifar10")
    if not UNPACKED.is_dir():
        UNPACKED.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=UNPACKED.parent) as scratch:
            complete = Path(scratch, "cifar10")
            subprocess.run([sys.executable, str(SHARED / "unpack.py"), str(complete)], check=True)
            with suppress(OSError):  # another run of the tests was first
                complete.rename(UNPACKED)
    return UNPACKED


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all tests, whichever process they run in: the features of all real digits take seconds."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "shared-cache"


@pytest.fixture
def no_final_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends makes no figures, which take longer than the training of a tiny network."""
    monkeypatch.setattr("limpid.sampling.figures.final_figures", lambda *_: [])


@pytest.fixture(scope="session")
def diffusers() -> ModuleType:
    """An outside implementation to agree with."""
    return pytest.importorskip("diffusers")


class Serve(Protocol):
    def __call__(
        self, body: bytes, *, status: int = 200, length: int | None = None, then: Callable[[], object] = ...
    ) -> str: ...


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a server that sends `body` and then calls `then`, and returns the address of a file there.

    The Content-Length that it sends is `length`, by default the true one; it sends none if that is 0.
    """
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ExitStack() as stack:

        def start(
            body: bytes, *, status: int = 200, length: int | None = None, then: Callable[[], object] = lambda: None
        ) -> str:
            class Site(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(status)
                    if length != 0:
                        self.send_header("Content-Length", str(length or len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    self.wfile.flush()
                    then()

                def log_message(self, format: str, *args: object) -> None:
                    pass

            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Site))
            thread = Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}/file.tar.gz"

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The search for garbage among the objects of all imports, which stay, takes a quarter of the collection, and is
    left out: then, and afterwards in every test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test of real images may be skipped only where they are missing; where they are not, the skip is a failure."""
    report = yield
    needs_images = "cifar_root" in getattr(item, "fixturenames", ())
    if report.skipped and needs_images and SHARED.is_dir() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped although real CIFAR-10 is at {SHARED}: {report.longrepr}"
    return report
