"""The application: which address answers with what. Started by server.py, tested without a network."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from limpid.lab.events import Broadcast, Event
from limpid.lab.guard import Guard, local_hosts
from limpid.lab.jobs import JobQueue
from limpid.lab.queries import MAX_BODY, answer
from limpid.lab.training import TrainingProcess
from limpid.lab.watch import RunWatch
from limpid.lab.workspace import Workspace
from limpid.recipes.serialize import match_choice
from limpid.runtime.errors import error_line

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
PAGE = Path(__file__).with_name("page")
"""The page: index.html, one stylesheet, and ES modules as they are written; nothing is built."""
QUERIES: Mapping[str, str] = {
    "noise/form": "noise:noise_form",
    "noise/images": "noise:images",
    "noise/image": "noise:image",
    "noise/levels": "noise:levels",
    "noise/denoise": "noise:denoise",
    "sample/form": "sample:sample_form",
    "sample/model": "sample:describe_model",
    "learn/form": "learn:learn_form",
    "learn/log": "runs:log_lines",
    "edit/form": "edit:edit_form",
    "edit/images": "edit:first_training_images",
    "edit/image": "edit:training_image",
    "edit/file": "edit:file_image",
    "compare/models": "compare:scored_models",
    "compare/pair": "compare:compare_pair",
    "compare/nearest": "compare:nearest_training_images",
}
"""The function of limpid.lab that answers each query."""
JOBS: Mapping[str, str] = {"sample": "sample:job", "edit": "edit:edit_parameters"}
"""The function of limpid.lab that makes the parameters of each kind of job from a query; worker.py does the jobs."""
LONG_BODIES: Mapping[str, int] = {"edit/file": 2**26, "jobs/edit": 2**23, "compare/nearest": 2**23}
"""Bytes of the longest request of those that hold images."""
BEFORE_A_JOB = ("sample/model",)
"""The queries after which a job is to be expected: the process of the jobs is started then."""
JOB_FILES: Mapping[str, str] = {
    "preview.png": "image/png",
    "atlas.png": "image/png",
    "grid.png": "image/png",
    "samples.npz": "application/octet-stream",
    "denoising.webp": "image/webp",
    "image.png": "image/png",
    "mask.png": "image/png",
}
"""The files of a job that the page may have."""


def create_app(workspace: Workspace, token: str, port: int) -> Guard:
    """The lab for a server at 127.0.0.1:`port`."""
    events = Broadcast()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with TemporaryDirectory(prefix="limpid-lab-") as folder:
            app.state.jobs = JobQueue(Path(folder), events.publish)
            app.state.training = TrainingProcess(Path(folder), events.publish)
            app.state.watch = RunWatch(workspace, events)
            working = [asyncio.create_task(app.state.jobs.run()), asyncio.create_task(app.state.watch.run())]
            yield
            events.close()
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await app.state.training.close()

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
        *(
            Route(f"/api/{name}", query_endpoint(name, function), methods=["POST"])
            for name, function in QUERIES.items()
        ),
        *(Route(f"/api/jobs/{kind}", job_endpoint(kind, act), methods=["POST"]) for kind, act in JOBS.items()),
        Route("/api/training/start", training_endpoint("learn:new_run"), methods=["POST"]),
        Route("/api/training/resume", training_endpoint("learn:old_run"), methods=["POST"]),
        Route("/api/training/stop", stop_training, methods=["POST"]),
        Route("/api/grid", sample_grid),
        Route("/api/jobs/{id}/cancel", cancel, methods=["POST"]),
        Route("/api/jobs/{id}/{setting:int}/{name}", result_file),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]


def query_endpoint(name: str, function: str) -> Endpoint:
    """The endpoint of a query."""

    async def endpoint(request: Request) -> Response:
        result = await answer(request, function, LONG_BODIES.get(name, MAX_BODY))
        if name in BEFORE_A_JOB:
            await request.app.state.jobs.warm_up()
        return JSONResponse(result)

    return endpoint


def job_endpoint(kind: str, function: str) -> Endpoint:
    """The endpoint that adds a job of a kind."""

    async def endpoint(request: Request) -> Response:
        parameters = await answer(request, function, LONG_BODIES.get(f"jobs/{kind}", MAX_BODY))
        return JSONResponse(request.app.state.jobs.submit(kind, parameters).event()["job"])

    return endpoint


def training_endpoint(function: str) -> Endpoint:
    """The endpoint that trains a run."""

    async def endpoint(request: Request) -> Response:
        order = await answer(request, function)
        return JSONResponse(await request.app.state.training.start(order["folder"], order["recipe"]))

    return endpoint


async def stop_training(request: Request) -> Response:
    """Ask the run of the page to save and end."""
    return JSONResponse(request.app.state.training.stop())


async def sample_grid(request: Request) -> Response:
    """A sample grid of a run."""
    read_grid = import_module("limpid.lab.runs").grid_bytes
    run, name = (request.query_params.get(key, "") for key in ("run", "name"))
    content = await run_in_threadpool(read_grid, request.app.state.workspace, run, name)
    return Response(content, media_type="image/png")


async def cancel(request: Request) -> Response:
    """Cancel a job."""
    return JSONResponse(request.app.state.jobs.cancel(request.path_params["id"]).event()["job"])


async def result_file(request: Request) -> Response:
    """A file of a job: of one of its settings, numbered from 0."""
    job = request.app.state.jobs.find(request.path_params["id"])
    name = match_choice("file of a job", request.path_params["name"], JOB_FILES)
    file = job.folder / str(request.path_params["setting"]) / name
    if name == "denoising.webp" and not file.exists():
        await run_in_threadpool(import_module("limpid.lab.sample").animate_job, job, file)
    if not file.is_file():
        raise ValueError(f"job {job.id} has no {name}: it is {job.state}")
    content = await run_in_threadpool(file.read_bytes)  # at once: a preview is replaced by the next one
    return Response(content, media_type=JOB_FILES[name])


async def event_stream(request: Request) -> Response:
    """What happens, as server-sent events; first how each job and each run is now."""
    state = request.app.state

    def now() -> list[Event]:
        return [*(job.event() for job in state.jobs.jobs.values()), *state.watch.events(), state.training.event()]

    stream = state.events.stream(now)
    return StreamingResponse(stream, media_type="text/event-stream")


async def one_line(request: Request, error: Exception) -> Response:
    """A mistake in a request, as the command would print it."""
    return JSONResponse({"error": error_line(error)}, 400)


async def http_error(request: Request, error: Exception) -> Response:
    """An address or a method that is not there."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": f"{request.url.path}: {error.detail}"}, error.status_code)
