"""The server of the lab: a free port of 127.0.0.1, a token for this start, a browser that opens, an end by Ctrl-C."""

import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from limpid.lab.workspace import Workspace
from limpid.runtime.terminal import echo

if TYPE_CHECKING:
    import uvicorn

NEEDED = ("starlette", "uvicorn")
GRACE = 1
"""Seconds that open requests have to end after Ctrl-C."""


def serve(workspace: Workspace, port: int = 0, open_browser: bool = True) -> None:
    """Serve the lab until Ctrl-C; port 0 is any that is free. Raises ValueError for a port that cannot be had."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ValueError(f"limpid lab needs {', '.join(missing)}: pip install 'limpid-diffusion[lab]'")
    token = secrets.token_urlsafe(24)
    with bound_socket(port) as listener:
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}/?token={token}"
        server = server_of(workspace, token, port)
        echo(f"limpid lab at {url}\nCtrl-C ends it")
        start_thread(lambda: import_module("limpid.lab.noise"))  # torch takes seconds
        if open_browser:
            start_thread(lambda: webbrowser.open(url))
        server.run(sockets=[listener])


def server_of(workspace: Workspace, token: str, port: int) -> "uvicorn.Server":
    """The server of a lab, which is run with a socket that is bound to this port."""
    import uvicorn

    from limpid.lab.app import create_app

    app = create_app(workspace, token, port)
    return uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=GRACE))


def bound_socket(port: int) -> socket.socket:
    """A socket that listens at this port of the machine itself. Raises ValueError if it cannot."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)  # from here on the browser waits, until the server answers
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "expected 1 to 65535"
        raise ValueError(f"--port {port}: {reason}; without it, a free one is taken") from error
    return listener


def start_thread(act: Callable[[], object]) -> None:
    """Do something beside the server; it does not keep the process alive."""
    threading.Thread(target=act, daemon=True).start()
