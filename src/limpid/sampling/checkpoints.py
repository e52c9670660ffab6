"""Checkpoints and the models in them: found by the name of a run, a file or a pretrained model, checked, loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from limpid.data import Fingerprint
from limpid.diffusion.denoiser import Denoiser
from limpid.recipes.recipe import Recipe, Sampling, build_denoiser
from limpid.recipes.serialize import errors_name_file, from_dict
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import printable
from limpid.storage.checkpoint import Plain, check_matches, latest, read_data, read_header, read_tensors
from limpid.storage.regular_files import refuse_linked_folders

ImageShape = tuple[int, int, int]


LONGEST_CLASS_NAME = 10 * 255
"""Letters that the name of a class may have: that of a folder, with all that cannot be printed spelt out."""


PRETRAINED_DIR = Path(__file__).parents[1] / "pretrained"
"""Networks that come with limpid: averages of the weights, in half precision (`benchmarks/ship.py` wrote them)."""


PRETRAINED = {"cifar10-small": "cifar10-small.safetensors"}
"""Their files, by the names they can be asked for."""


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself besides its tensors."""

    images_seen: int
    image_shape: ImageShape
    """Channels, height and width of a picture."""
    class_names: tuple[str, ...]
    """What the classes are called, also where the network is not told them."""
    recipe: Recipe
    data_position: int
    """Where the run stood in its row of pictures; and the places of batches it has left out."""
    skipped_batches: tuple[int, ...] = ()
    std: float = 0.0
    """The relative length of the average that it holds, if it holds only that."""
    class_counts: tuple[int, ...] = ()
    """How many training images each class has; empty where nobody counted them."""
    run_id: str = ""
    """Of which run it is: what `folder.id_of` says of the recipe that the run was begun with."""
    data: Fingerprint = Fingerprint()
    """What identifies the images that it was trained on, wherever they are; older checkpoints do not say."""


@dataclass(frozen=True)
class CheckpointRef:
    """One checkpoint of a run, found once, so that its options and its weights are read from the same file."""

    file: Path
    sha256: str
    """The checksum of all bytes of the file."""
    about: CheckpointInfo = field(compare=False)


def load_model(ref: CheckpointRef, runtime: Runtime, weights: Literal["ema", "raw"] = "ema") -> Denoiser:
    """The trained model of a checkpoint, in evaluation mode, on the device of `runtime`.

    Raises ValueError if the file is gone, has changed since it was found, or does not fit its own recipe.
    """
    file, recipe, shape, classes = ref.file, ref.about.recipe, ref.about.image_shape, len(ref.about.class_names)
    try:
        tensors = read_tensors(file, {"ema": "ema.", "raw": "model."}[weights], ref.sha256)
    except FileNotFoundError:
        raise ValueError(f"{file} is gone: its run has saved newer ones, so give the command again") from None
    with errors_name_file(file), torch.device("meta"):  # a network of absurd size is refused before it takes memory
        check_matches(tensors, build_denoiser(recipe, shape, classes).net.state_dict(), file)
    with torch.random.fork_rng(devices=[]):  # weights are drawn, and then replaced
        model = runtime.to_device(build_denoiser(recipe, shape, classes))
    model.net.load_state_dict(tensors)
    if runtime.compile is True:
        model.net.compile()
    return model.eval()


def guidance_model(sampling: Sampling) -> str:
    """The run of the weaker model that guides this sampling; empty without one."""
    return sampling.guidance_model if sampling.guidance.enabled else ""


def load_guides(samplings: Sequence[Sampling], runtime: Runtime) -> list[Denoiser | None]:
    """The guidance model of each of these samplings, None where there is none.

    A run that goes on saves newer checkpoints meanwhile: each is found once, by the first process for all.
    """
    names = [guidance_model(sampling) for sampling in samplings]
    refs = distributed.broadcast_object(lambda: {name: find_checkpoint(name) for name in dict.fromkeys(names) if name})
    models = {name: load_model(ref, runtime) for name, ref in refs.items()}
    return [models.get(name) for name in names]


def find_checkpoint(path: Path | str) -> CheckpointRef:
    """The checkpoint that a name stands for at this moment, as `checkpoint_of` says; later it may be another, since a
    run that goes on saves newer ones. Raises ValueError if there is none."""
    file = checkpoint_path(Path(path))
    data, checksum = read_header(file)
    return CheckpointRef(file, checksum, info_from(data, file))


def checkpoint_path(path: Path) -> Path:
    """The file itself, the newest checkpoint of a run folder, or a network that comes with limpid and has this name.

    Raises ValueError if there is none.
    """
    if is_pretrained(path):
        return PRETRAINED_DIR / PRETRAINED[str(path)]
    file = latest(path / "checkpoints") if path.is_dir() else path
    if file is None or not file.exists():
        expected = "train it first, or name a run folder or a checkpoint"
        raise ValueError(f"no checkpoint in {path}: {expected}; {pretrained_hint(path)}")
    return file


def pretrained_hint(path: Path) -> str:
    """What to type instead of a name that stands for no run."""
    shipped = f"for a network that comes with limpid type {' or '.join(PRETRAINED)}"
    return f"{shipped}, for the run of that name {Path('runs') / path}" if (Path("runs") / path).is_dir() else shipped


def is_pretrained(path: Path) -> bool:
    """Whether this is the name of a network that comes with limpid, and of nothing that is here."""
    return str(path) in PRETRAINED and not path.exists()


def output_folder(path: Path) -> Path:
    """Where what is made of a run belongs: its folder, or that of its checkpoint; of a network that comes with limpid
    a folder that no run is in.

    Raises ValueError if a folder in it is a link: what is written there would be elsewhere.
    """
    folder = _folder_of(path)
    refuse_linked_folders(folder)
    return folder


def _folder_of(path: Path) -> Path:
    if path.is_dir():
        return path
    return Path("runs", "shipped", Path(PRETRAINED[str(path)]).stem) if is_pretrained(path) else path.parent.parent


def load_info(file: Path) -> CheckpointInfo:
    """What a checkpoint says of itself. Raises ValueError if it is broken, or says what cannot be."""
    return info_from(read_data(file), file)


def info_from(data: Plain, file: Path) -> CheckpointInfo:
    """What the plain data of a checkpoint says. Raises ValueError, with the file's name, if it says what cannot be."""
    with errors_name_file(file):
        about = from_dict(CheckpointInfo, data, "its data")
        if long := [name for name in about.class_names if len(name) > LONGEST_CLASS_NAME]:
            raise ValueError(f"a class name in it, {long[0][:60]!r}, is longer than {LONGEST_CLASS_NAME} letters")
        return replace(about, class_names=tuple(map(printable, about.class_names)))
