"""What the tests of data share: a web server on this machine, and a CIFAR-10 that is made up."""

import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Protocol

import numpy as np
import pytest
import torch
from torch import Tensor


class Serve(Protocol):
    def __call__(
        self, body: bytes, *, status: int = 200, length: int | None = None, then: Callable[[], object] = ...
    ) -> str: ...


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a server that sends `body` and `then` does as told, and returns the address of a file there.

    It says that the body is of `length`, the true one if none is given, and does not say if that is 0.
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


@dataclass(frozen=True, eq=False)
class Made:
    """A test split of CIFAR-10 that is made up: what is in it, and its file in either version."""

    pixels: Tensor
    labels: Tensor
    pickled: bytes
    records: bytes


@pytest.fixture(scope="session")
def made() -> Made:
    few = np.random.default_rng(0).integers(256, size=(100, 3072), dtype=np.uint8)
    pixels, labels = np.tile(few, (100, 1)), np.arange(10_000, dtype=np.uint8) * 7 % 10
    pickled = pickle.dumps({b"data": pixels, b"labels": labels.tolist()}, protocol=4)
    records = np.concatenate([labels[:, None], pixels], 1).tobytes()
    return Made(torch.from_numpy(pixels).view(-1, 3, 32, 32), torch.from_numpy(labels).long(), pickled, records)
