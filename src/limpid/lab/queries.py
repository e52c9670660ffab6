"""What the page asks and is answered with JSON: each query is a function of a frozen dataclass.

The body of a request becomes that dataclass by `from_dict`, so that a mistake in it is answered with the line that the
command prints. A function is imported when it is first needed: torch takes seconds, and the page is open by then.
"""

import json
from importlib import import_module
from typing import Any, get_type_hints

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from limpid.lab.workspace import Workspace
from limpid.recipes.serialize import from_dict

MAX_BODY = 256 * 1024
"""Bytes of the longest request that is read, of most kinds."""


async def answer(request: Request, function: str, max_body: int = MAX_BODY) -> Any:
    """The answer of `function`, a module of the lab and a name in it, to the body of a request."""
    body = await read_json(request, max_body)
    return await run_in_threadpool(call, function, request.app.state.workspace, body)


def call(function: str, workspace: Workspace, body: Any) -> Any:
    """The result of a query. Raises ValueError for a body that it does not take."""
    module, name = function.split(":")
    act = getattr(import_module(f"limpid.lab.{module}"), name)
    return act(workspace, from_dict(get_type_hints(act)["query"], body, "request"))


async def read_json(request: Request, max_body: int) -> Any:
    """The body of a request. Raises ValueError if it is too long, or no JSON."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_body:
            raise ValueError(f"the request is longer than {max_body:,} bytes")
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the request is no JSON: {error}") from error
