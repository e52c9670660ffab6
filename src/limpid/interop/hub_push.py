"""Pushing files to a repository of the Hugging Face Hub, in one commit, by `huggingface_hub`.

A commit is atomic: if it fails, the repository is as it was before, and a new one is there without files.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from limpid.runtime.terminal import printable
from limpid.storage.hub import HUB_PREFIX, hub_endpoint, is_offline, parse_hub_name

REPLACED = ("model_index.json", "limpid.json", "unet/", "scheduler/")
"""Files of an earlier export, which are removed from a repository if the new one has none of that name."""
CREATED_WITH = {".gitattributes"}
"""The files that the Hub puts into a new repository."""
TOKEN_HINT = "set HF_TOKEN to a token with write access, as huggingface.co/settings/tokens makes it"


def check_push(repo: str) -> None:
    """Raise ValueError, before any work, for a name that is no repository, and without the package, a token or leave to
    go online."""
    if parse_hub_name(f"{HUB_PREFIX}{repo}").repo != repo:
        raise ValueError(f"{repo!r} is no repository: expected user/name")
    if find_spec("huggingface_hub") is None:
        raise ValueError("pushing to the Hub needs huggingface_hub: pip install 'limpid-diffusion[hub]'")
    if is_offline():
        raise ValueError(f"cannot push to {repo}, as HF_HUB_OFFLINE is set")
    hub_endpoint()
    from huggingface_hub import get_token

    if not get_token():
        raise ValueError(f"cannot push to {repo} without a token: {TOKEN_HINT}, or run hf auth login")


def push(folder: Path, files: Sequence[str], repo: str, private: bool = False) -> str:
    """Push these files of a folder to a repository, which is created if there is none; the address of the commit.

    Raises ValueError, with what to do, if the Hub refuses or cannot be reached, and for `private` if the repository is
    public already. All files are then in it or none is; a new repository stays, and the same call fills it.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(endpoint=hub_endpoint())
    with _refusals_explained(repo):
        api.create_repo(repo, private=private or None, exist_ok=True)
        about = api.model_info(repo)
    if private and not about.private:
        raise ValueError(f"{repo} is public already: make it private on its page first, or leave out --private")
    present = [file.rfilename for file in about.siblings or []]
    with _refusals_explained(repo, is_empty=set(present) <= CREATED_WITH):
        former = [name for name in present if name.startswith(REPLACED) and name not in files]
        operations = [CommitOperationDelete(name, is_folder=False) for name in former]
        operations += [CommitOperationAdd(name, folder / name) for name in files]
        return str(api.create_commit(repo, operations, commit_message="Export by limpid").commit_url)


@contextmanager
def _refusals_explained(repo: str, is_empty: bool = False) -> Iterator[None]:
    """Raise ValueError, with what to do, for any error of the package; of a repository that is there without files,
    also that it is."""
    try:
        yield
    except Exception as error:  # of any type: each version of the package has its own for the network
        status = next(filter(None, map(_status, _causes(error))), 0)
        user = repo.partition("/")[0]
        advice = {
            401: f"the token is not accepted: {TOKEN_HINT}",
            403: f"the token may not write there: use one with write access to {user}, or push to your own name",
            404: f"there is no {user}, or the token may not see it",
        }
        lines = printable(" ".join(str(error).split())) or type(error).__name__
        reason = f"{advice[status]} (HTTP {status})" if status in advice else lines[:200]
        # Without an answer a commit may have arrived all the same.
        what = "nothing was pushed" if 400 <= status < 500 else "the push failed, and is complete or not there at all"
        stays = f"; the repository {repo} is there, without files: the same command fills it" if is_empty else ""
        raise ValueError(f"{repo} at {hub_endpoint()}: {what}: {reason}{stays}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from: uploads run in threads, whose errors are wrapped."""
    while error is not None:
        yield error
        error = error.__cause__


def _status(error: BaseException) -> int:
    """The HTTP status in an error of the package; 0 if it has none."""
    return getattr(getattr(error, "response", None), "status_code", 0)
