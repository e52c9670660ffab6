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
        self.new_files: dict[str, bytes] = {}
        """What a new repository holds."""
        self.private: set[str] = set()
        self.large: dict[str, bytes] = {}
        """What was uploaded as a large file, by its SHA-256, and is in a repository once a commit names it."""
        self.refusals: dict[str, int] = {}
        """The status that is answered to requests whose path has this in it."""
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
        return {
            "id": repo,
            "modelId": repo,
            "sha": self.commit(repo),
            "siblings": files,
            "private": repo in self.private,
        }


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
        if status := self.refusal():
            return self.answer(status)
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

    def refusal(self) -> int:
        """The status of an answer without content; 0 if there is none to give."""
        return 503 if self.hub.broken else next((s for part, s in self.hub.refusals.items() if part in self.path), 0)

    def do_POST(self) -> None:
        hub = self.hub
        hub.requests.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if status := self.refusal():
            return self.answer(status)
        if self.headers.get("Authorization") != "Bearer hf_secret":
            return self.answer(401)
        if self.path == "/api/repos/create":
            return self.create(json.loads(body))
        if self.path == "/api/validate-yaml":
            return self.answer_json({"errors": [], "warnings": []})
        if self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [{**each, "actions": {"upload": self.action(each)}} for each in json.loads(body)["objects"]]
            return self.answer_json({"transfer": "basic", "objects": objects})
        repo = "/".join(self.path.split("/")[3:5])
        if repo not in hub.repos:
            return self.answer(404, X_Error_Code="RepoNotFound")
        if "/preupload/" in self.path:
            modes = {file["path"]: self.upload_mode(file["path"]) for file in json.loads(body)["files"]}
            files = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
            return self.answer_json({"files": files})
        commit = self.apply_commit(repo, [json.loads(line) for line in body.splitlines()])
        url = f"{hub.url}/{repo}/commit/{commit}"
        return self.answer_json({"success": True, "commitOid": commit, "commitUrl": url})

    def do_PUT(self) -> None:
        """A large file, to where the answer about it said."""
        self.hub.requests.append(self.path)
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if status := self.refusal():
            return self.answer(status)
        self.hub.large[hashlib.sha256(content).hexdigest()] = content
        return self.answer(200)

    def create(self, about: dict[str, Any]) -> None:
        hub, repo = self.hub, f"{about.get('organization') or 'me'}/{about['name']}"
        exists = repo in hub.repos
        hub.repos.setdefault(repo, dict(hub.new_files))
        if not exists and (about.get("private") or about.get("visibility") == "private"):
            hub.private.add(repo)
        url = json.dumps({"url": f"{hub.url}/{repo}", "name": repo, "id": repo}).encode()
        return self.answer(409 if exists else 200, url, Content_Type="application/json")

    def action(self, about: dict[str, Any]) -> dict[str, str]:
        return {"href": f"{self.hub.url}/large/{about['oid']}"}

    def upload_mode(self, path: str) -> str:
        """Weights and images are large files on the Hub, whatever their size."""
        return "lfs" if path.endswith((".safetensors", ".png")) else "regular"

    def apply_commit(self, repo: str, lines: list[dict[str, Any]]) -> str:
        files = self.hub.repos[repo]
        for line in lines:
            kind, value = line["key"], line["value"]
            if kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif kind == "deletedFile":
                del files[value["path"]]
        return self.hub.commit(repo)

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
