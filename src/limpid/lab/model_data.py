"""The images that a model of the lab was trained on, where they are on this machine."""

from functools import lru_cache
from threading import Lock

from limpid.data import Cifar10, Data, DataSource
from limpid.data.readers.cifar10_files import find_cifar10
from limpid.lab.models import find_model
from limpid.lab.workspace import Workspace
from limpid.sampling.checkpoints import CheckpointRef, find_checkpoint
from limpid.sampling.training_data import check_data, open_data
from limpid.storage.download import cache_dir

_opening = Lock()


def model_ref(workspace: Workspace, model: str, checkpoint: str = "") -> tuple[str, CheckpointRef]:
    """The path of a model of the lab, as `limpid.load` takes it, and its checkpoint; the newest if none is named."""
    path = find_model(workspace, model).checkpoint(checkpoint)
    return path, find_checkpoint(path)


def training_images(path: str, ref: CheckpointRef) -> DataSource:
    """The images that a model was trained on. Raises ValueError if they are not known, or not on this machine."""
    about = ref.about
    if ref.foreign is not None:
        raise ValueError(f"{path} does not say which images it was trained on")
    data = about.recipe.data
    if isinstance(data, Cifar10) and not data.root and find_cifar10(cache_dir(), data.split) is None:
        raise ValueError("CIFAR-10, on which it was trained, is not on this machine: limpid train cifar10 downloads it")
    with _opening:
        source = _open(data)
    if about.data.images:
        check_data(about, source, path)
    if tuple(source.shape) != tuple(about.image_shape):
        given, expected = ("x".join(map(str, shape)) for shape in (source.shape, about.image_shape))
        raise ValueError(f"its images are {given} now, and {path} was trained on {expected}")
    return source


@lru_cache(maxsize=2)
def _open(data: Data) -> DataSource:
    return open_data(data, "cpu", of_run=True)
