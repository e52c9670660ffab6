"""The models that the page may sample from: those that come with limpid, and the runs, checkpoints and models of other
programs in the workspace."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limpid.interop.foreign import is_foreign
from limpid.lab.workspace import DEPTH, Workspace, inside
from limpid.recipes.serialize import match_choice
from limpid.sampling.checkpoints import PRETRAINED
from limpid.storage.checkpoint import list_checkpoints
from limpid.storage.hub import is_hub_folder


@dataclass(frozen=True)
class ModelFiles:
    """A model by its name, and where it is."""

    name: str
    path: str
    """What `limpid.load` takes."""
    checkpoints: tuple[str, ...] = ()
    """The checkpoints of a run, the oldest first."""

    def checkpoint(self, name: str) -> str:
        """What `limpid.load` takes for one of the checkpoints, the newest if no name is given. Raises ValueError for a
        name that is none."""
        if not name:
            return self.path
        return str(Path(self.path, "checkpoints", match_choice("checkpoint", name, self.checkpoints)))


def find_models(workspace: Workspace) -> dict[str, ModelFiles]:
    """All models by name, as they are on disk now."""
    found = [model for path in workspace.run_paths for model in models_below(path, DEPTH)]
    shipped = [ModelFiles(name, name) for name in PRETRAINED if not Path(name).exists()]
    return {model.name: model for model in (*shipped, *found)}


def find_model(workspace: Workspace, name: str) -> ModelFiles:
    """A model of the lab. Raises ValueError for a name that is none."""
    models = find_models(workspace)
    return models[match_choice("model", name, models)]


def models_below(path: Path, depth: int) -> Iterator[ModelFiles]:
    """The models of a folder, or the one that it is: a run, a checkpoint, or a folder for the Hub or of diffusers."""
    if path.is_file() or is_foreign(path):
        yield ModelFiles(str(path), str(path))
    elif checkpoints := [file.name for file in list_checkpoints(path / "checkpoints") if inside(file, path)]:
        yield ModelFiles(str(path), str(path), tuple(checkpoints))
    elif is_hub_folder(path):
        yield ModelFiles(str(path), str(path))
    elif depth and path.is_dir():
        for child in sorted(path.iterdir()):
            if child.is_dir() and inside(child, path):
                yield from models_below(child, depth - 1)
