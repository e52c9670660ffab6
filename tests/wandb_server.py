"""A server of Weights & Biases on this machine: what `wandb` asks it for when a run is logged, and no more."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


class WandbServer:
    """The lines and files of one run, as they were sent."""

    def __init__(self) -> None:
        self.url = ""
        self.history: list[dict[str, Any]] = []
        self.name, self.config = "", "{}"
        self.files: dict[str, bytes] = {}
        self.silent = False
        """Whether the server takes requests and answers none."""
        self.closed = Event()

    def bucket(self) -> dict[str, Any]:
        """The run, as the server describes it to who resumes it."""
        last = json.dumps(self.history[-1]) if self.history else "{}"
        project = {"id": "p", "name": "limpid", "entity": {"id": "e", "name": "me"}}
        counts = {"historyLineCount": len(self.history), "eventsLineCount": 0, "logLineCount": 0}
        tails = {"historyTail": json.dumps([last]), "eventsTail": "[]", "summaryMetrics": last}
        names = {"id": "1", "name": self.name, "displayName": self.name, "config": self.config, "tags": []}
        return {**names, **counts, **tails, "wandbConfig": '{"t": 1}', "project": project}

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The answer to a question in GraphQL."""
        if "upsertBucket" in query:
            self.name = variables.get("name") or self.name
            self.config = variables.get("config") or self.config
            return {"upsertBucket": {"bucket": self.bucket(), "inserted": not self.history}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/files/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        if "RunResumeStatus" in query:
            bucket = self.bucket() if self.history else None
            return {"model": {"id": "p", "name": "limpid", "entity": {"id": "e", "name": "me"}, "bucket": bucket}}
        return {}


class WandbHandler(BaseHTTPRequestHandler):
    server_state: WandbServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        state, body = self.server_state, self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if state.silent:
            state.closed.wait()
        elif self.path == "/graphql":
            asked = json.loads(body)
            self.say({"data": state.answer(asked["query"], asked.get("variables") or {})})
        else:
            files = json.loads(body).get("files", {}) if self.path.endswith("/file_stream") else {}
            if lines := files.get("wandb-history.jsonl"):
                state.history[lines["offset"] :] = map(json.loads, lines["content"])
            self.say({})

    def do_PUT(self) -> None:
        self.server_state.files[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.say({})

    def say(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error."""


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """A server at `url`, until the end of the block."""
    state = WandbServer()
    with _Quiet(("127.0.0.1", 0), type("Site", (WandbHandler,), {"server_state": state})) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield state
        finally:
            state.closed.set()
            server.shutdown()
            thread.join()
