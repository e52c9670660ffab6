"""Who may talk to the lab: this machine's browser, from the lab's own page, with the token of this start.

Other pages that are open in the browser can send requests to 127.0.0.1 too, and by DNS rebinding even read the answers:
so the Host and Origin headers are checked for everything, and what answers with data needs the token.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-limpid-token"
HEADERS = {
    # Nothing is loaded from elsewhere or sent there.
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def local_hosts(port: int) -> frozenset[str]:
    """The Host headers of requests to this port of the machine itself."""
    return frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})


@dataclass(frozen=True)
class Guard:
    """An application that passes on what the lab's own page asks, and answers anything else with 403."""

    app: ASGIApp
    token: str
    hosts: frozenset[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        reason = self.refusal(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = JSONResponse({"error": reason}, 403) if reason else self.app
        await answer(scope, receive, send_with_headers)

    def refusal(self, scope: Scope) -> str:
        """Why a request is refused; empty if it is not."""
        headers = Headers(scope=scope)
        if scope["type"] != "http":
            return "expected an HTTP request"
        if only(headers.getlist("host")) not in self.hosts:
            return f"expected the Host {' or '.join(sorted(self.hosts))}"
        origins = headers.getlist("origin")
        if origins and only(origins) not in {f"http://{host}" for host in self.hosts}:
            return "a request of another page is not answered"
        if scope["path"].startswith("/api/") and not self.knows(only(headers.getlist(TOKEN_HEADER))):
            return "no token, or one of an earlier start: open the address that limpid lab printed"
        return ""

    def knows(self, token: str) -> bool:
        """Whether this is the token; compared in constant time."""
        return secrets.compare_digest(token.encode(), self.token.encode())


def only(values: Iterable[str]) -> str:
    """The value of a header that is there once; empty if it is missing or given twice."""
    given = list(values)
    return given[0] if len(given) == 1 else ""
