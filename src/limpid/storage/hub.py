"""Models of the Hugging Face Hub: one file of a repository, fetched by HTTP and cached by its commit.

A checkpoint rebuilds its model alone and holds its own checksum, so no package and no other file is needed.
"""

import json
import os
import re
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from limpid.runtime.terminal import echo, printable
from limpid.storage.atomic import atomic_write
from limpid.storage.checkpoint import Broken, verify
from limpid.storage.download import TIMEOUT, cache_dir, save_response

HUB_PREFIX = "hf:"
MODEL_FILE = "limpid.safetensors"
"""The file of a repository that is the model."""
HUB_NAME = re.compile(r"hf:(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?", re.ASCII)
COMMIT = re.compile(r"\w{1,64}", re.ASCII)
MAX_ANSWER_BYTES = 1 << 24
"""Limit of the bytes of a response that describes a repository."""


class HubModel(NamedTuple):
    """A model on the Hub: a repository, `user/name`, and a branch, tag or commit of it."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"{HUB_PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision != "main" else "")

    def cached_file(self, commit: str) -> Path:
        """The file of a commit in the cache."""
        return self._folder / commit / MODEL_FILE

    @property
    def pointer(self) -> Path:
        """The file in the cache with the commit that the revision was when it was last fetched."""
        return self._folder / "revisions" / quote(self.revision, safe="")

    @property
    def _folder(self) -> Path:
        return cache_dir() / "hub" / self.repo.replace("/", "--")


def is_hub_name(name: str) -> bool:
    """Whether a name is one of the Hub: it begins with hf:."""
    return name.startswith(HUB_PREFIX)


def is_hub_folder(path: Path) -> bool:
    """Whether a folder has the file that is the model of a repository: it was exported for the Hub, or is a copy."""
    return (path / MODEL_FILE).is_file()


def parse_hub_name(name: str) -> HubModel:
    """The model that `hf:user/name` or `hf:user/name@revision` names. Raises ValueError for another form."""
    match = HUB_NAME.fullmatch(name)
    if not match or ".." in name:
        raise ValueError(f"{name!r} is no model of the Hub: expected hf:user/name or hf:user/name@revision")
    return HubModel(match["repo"], match["revision"] or "main")


def pull(name: str) -> Path:
    """The checkpoint file of `hf:user/name[@revision]`, in the cache, fetched if it is not there yet.

    Reads HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE. Where the server does not answer, the commit that was fetched last
    is taken, with a line on stderr. Raises ValueError if there is no such model, its file is broken, or it can neither
    be fetched nor found in the cache.
    """
    model = parse_hub_name(name)
    pinned = model.cached_file(model.revision)
    if re.fullmatch("[0-9a-f]{40}", model.revision) and _intact(pinned):
        return pinned
    if is_offline():
        return _last_pulled(model, f"cannot fetch {model}, as HF_HUB_OFFLINE is set")
    try:
        return _pull(model)
    except (OSError, HTTPException) as error:
        reason = printable(f"cannot fetch {model} from {hub_endpoint()} ({error})")
        file = _last_pulled(model, reason)
        echo(f"{reason}: taking commit {file.parent.name[:12]} from the cache", to_stderr=True)
        return file


def _pull(model: HubModel) -> Path:
    """The file of the commit that the revision is now. Raises OSError if the server does not answer."""
    base = hub_endpoint()
    revision = quote(model.revision, safe="")
    about = _request(model, f"{base}/api/models/{model.repo}/revision/{revision}", _read_json)
    commit = about.get("sha") if isinstance(about, dict) else None
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise ValueError(f"cannot fetch {model}: {base} does not answer like a Hub")
    file = model.cached_file(commit)
    if not _intact(file):
        echo(f"downloading {model} from {base}", to_stderr=True)
        with atomic_write(file) as part:
            url = f"{base}/{model.repo}/resolve/{commit}/{MODEL_FILE}"
            _request(model, url, lambda response: save_response(response, part, str(model)))
            try:
                verify(part)
            except Broken as error:
                reason = str(error).rpartition(": ")[2]
                raise ValueError(f"{model}: its {MODEL_FILE} is no intact checkpoint of limpid ({reason})") from error
    with atomic_write(model.pointer) as part:
        part.write_text(commit)
    return file


def _last_pulled(model: HubModel, reason: str) -> Path:
    """The file that was fetched last for a revision. Raises ValueError, with the reason, if there is none."""
    commit = model.pointer.read_text() if model.pointer.is_file() else model.revision
    if not COMMIT.fullmatch(commit) or not _intact(model.cached_file(commit)):
        raise ValueError(f"{reason}, and it is not in the cache")
    return model.cached_file(commit)


def _intact(file: Path) -> bool:
    """Whether a file exists and matches its own checksum."""
    try:
        verify(file)
    except (FileNotFoundError, Broken):
        return False
    return True


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids contacting a server."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def hub_endpoint() -> str:
    """The address of the Hub. Raises ValueError for one that is not an http(s) URL."""
    base = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    if not base.startswith(("https://", "http://")):
        raise ValueError(f"HF_ENDPOINT is {base!r}: expected an address that begins with https:// or http://")
    return base


def _request(model: HubModel, url: str, read: Callable[[HTTPResponse], Any]) -> Any:
    """The response, as `read` returns it. Raises ValueError if the model is missing or refused, OSError if cut off."""
    request = Request(url, headers={"User-Agent": "limpid"})
    if token := os.environ.get("HF_TOKEN", "").strip():
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with build_opener(_TokenToSameHost).open(request, timeout=TIMEOUT) as response:
            return read(response)
    except HTTPError as error:
        error.close()  # it holds the connection
        if error.code in (401, 403, 404):
            hint = "HF_TOKEN gives no access to it" if token else "if it is private, set HF_TOKEN"
            missing = f"no {MODEL_FILE} in it" if url.endswith(MODEL_FILE) else "no such model or revision"
            raise ValueError(f"cannot fetch {model}: {missing} (HTTP {error.code}); {hint}") from error
        raise


def _read_json(response: HTTPResponse) -> Any:
    """The JSON value in a response; None if it is not JSON."""
    try:
        return json.loads(response.read(MAX_ANSWER_BYTES))
    except (ValueError, RecursionError):
        return None


class _TokenToSameHost(HTTPRedirectHandler):
    """Follows redirects; the token is sent only to the same host, since large files are on other hosts."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        target = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.get_header("Authorization")
        before, after = urlsplit(req.full_url), urlsplit(urljoin(req.full_url, newurl))
        if target and token and (before.scheme, before.netloc) == (after.scheme, after.netloc):
            target.add_unredirected_header("Authorization", token)
        return target
