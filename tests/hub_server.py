"""A Hugging Face Hub on this machine: what `huggingface_hub` and limpid ask it for, and no more."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class HubServer:
    """Repositories in memory, by name; each commit replaces the last."""

    def __init__(self) -> None:
        self.url = ""
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []
        self.tokens: list[str | None] = []
        self.broken = False
        """Whether every answer is that of a server in trouble."""
        self.redirect = ""
        """Where files are, if they are elsewhere."""

    def commit(self, repo: str) -> str:
        """The commit of a repository: a hash of its files."""
        digest = hashlib.sha1()
        for name, content in sorted(self.repos[repo].items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()

    def about(self, repo: str) -> dict[str, Any]:
        files = [{"rfilename": name} for name in self.repos[repo]]
        return {"id": repo, "modelId": repo, "sha": self.commit(repo), "siblings": files, "private": False, "tags": []}


class Handler(BaseHTTPRequestHandler):
    hub: HubServer

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        hub = self.hub
        hub.requests.append(self.path)
        hub.tokens.append(token := self.headers.get("Authorization"))
        words = self.path.strip("/").split("/")
        if hub.broken:
            return self.answer(503)
        repo = "/".join(words[2:4] if words[0] == "api" else words[:2])
        if repo not in hub.repos or (repo in hub.private and token != "Bearer hf_secret"):
            return self.answer(401 if not token else 404)
        if words[0] == "api":
            wrong = words[4:5] == ["revision"] and words[5] not in ("main", hub.commit(repo))
            return self.answer(404) if wrong else self.answer_json(hub.about(repo))
        name = "/".join(words[4:])
        if name not in hub.repos[repo]:
            return self.answer(404, X_Error_Code="EntryNotFound")
        if hub.redirect:
            return self.answer(302, Location=hub.redirect)
        content = hub.repos[repo][name]
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        return self.answer(200, content, ETag=etag, X_Repo_Commit=hub.commit(repo), Accept_Ranges="bytes")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        hub = self.hub
        hub.requests.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != "Bearer hf_secret":
            return self.answer(401)
        if self.path == "/api/repos/create":
            about = json.loads(body)
            repo = f"{about['organization']}/{about['name']}" if about.get("organization") else f"me/{about['name']}"
            hub.repos.setdefault(repo, {})
            return self.answer_json({"url": f"{hub.url}/{repo}", "name": repo, "id": repo})
        if self.path == "/api/validate-yaml":
            return self.answer_json({"errors": [], "warnings": []})
        repo = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self.answer_json({"files": files})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                hub.repos[repo][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        commit = hub.commit(repo)
        return self.answer_json(
            {"success": True, "commitOid": commit, "commitUrl": f"{hub.url}/{repo}/commit/{commit}"}
        )

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """A Hub at `url`, until the end of the block."""
    hub = HubServer()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Site", (Handler,), {"hub": hub})) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield hub
        server.shutdown()
        thread.join()
