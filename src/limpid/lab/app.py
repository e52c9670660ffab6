"""The application: which address answers with what. Started by server.py, tested without a network."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from limpid.lab.events import Broadcast
from limpid.lab.guard import Guard, local_hosts
from limpid.lab.queries import answer
from limpid.lab.workspace import Workspace
from limpid.runtime.errors import error_line

PAGE = Path(__file__).with_name("page")
"""The page: index.html, one stylesheet, and ES modules as they are written; nothing is built."""
QUERIES: Mapping[str, str] = {
    "noise/form": "noise:form",
    "noise/images": "noise:images",
    "noise/image": "noise:image",
    "noise/levels": "noise:levels",
    "noise/denoise": "noise:denoise",
}
"""The function of limpid.lab that answers each query."""


def create_app(workspace: Workspace, token: str, port: int) -> Guard:
    """The lab for a server at 127.0.0.1:`port`."""
    events = Broadcast()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        events.close()

    app = Starlette(
        routes=routes(),
        lifespan=lifespan,
        exception_handlers={
            ValueError: one_line,
            OSError: one_line,
            FloatingPointError: one_line,
            MemoryError: one_line,
            HTTPException: http_error,
        },
    )
    app.state.workspace, app.state.events = workspace, events
    return Guard(app, token, local_hosts(port))


def routes() -> list[BaseRoute]:
    """Everything that the lab answers; the page itself is last, since it takes what is left."""
    return [
        Route("/api/events", event_stream),
        *(Route(f"/api/{name}", query_endpoint(function), methods=["POST"]) for name, function in QUERIES.items()),
        Route("/plotly.min.js", plotly),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]


def query_endpoint(function: str):
    """The endpoint of a query."""

    async def endpoint(request: Request) -> Response:
        return await answer(request, function)

    return endpoint


async def event_stream(request: Request) -> Response:
    """What happens, as server-sent events."""
    stream = request.app.state.events.stream(list)
    return StreamingResponse(stream, media_type="text/event-stream")


async def plotly(request: Request) -> Response:
    """The plotting library, from the package that brought it."""
    found = find_spec("plotly")
    if found is None or found.origin is None:
        raise ValueError("the plots of the lab need plotly: install limpid-diffusion[lab]")
    return FileResponse(Path(found.origin).with_name("package_data") / "plotly.min.js", media_type="text/javascript")


async def one_line(request: Request, error: Exception) -> Response:
    """A mistake in a request, as the command would print it."""
    return JSONResponse({"error": error_line(error)}, 400)


async def http_error(request: Request, error: Exception) -> Response:
    """An address or a method that is not there."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": f"{request.url.path}: {error.detail}"}, error.status_code)
