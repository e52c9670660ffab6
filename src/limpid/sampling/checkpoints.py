"""Checkpoints and their models: find the checkpoint of a run, file or pretrained name, check it, load the model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from limpid.data import Fingerprint
from limpid.diffusion.denoiser import Denoiser
from limpid.interop.foreign import is_foreign, read_foreign
from limpid.interop.foreign_model import ForeignOptions
from limpid.recipes.recipe import Recipe, Sampling, build_denoiser
from limpid.recipes.serialize import errors_name_file, from_dict
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import printable
from limpid.sampling.sample import ImageShape
from limpid.storage.checkpoint import Plain, check_matches, latest, read_data, read_header, read_tensors
from limpid.storage.hub import HUB_PREFIX, MODEL_FILE, is_hub_folder, is_hub_name, parse_hub_name, pull
from limpid.storage.posthoc_ema import RESULTS, SNAPSHOTS
from limpid.storage.regular_files import refuse_linked_folders
from limpid.storage.renamed import with_new_names

LONGEST_CLASS_NAME = 10 * 255
"""Limit of the characters of a class name: a folder's name, with unprintable characters spelt out."""


PRETRAINED_DIR = Path(__file__).parents[1] / "pretrained"
"""Networks that come with limpid: EMA weights in half precision (`benchmarks/ship.py` wrote them)."""


PRETRAINED = {name: f"{name}.safetensors" for name in ("cifar10-small", "cifar10-64-small")}
"""Their files, by the names that `load` takes."""


@dataclass(frozen=True)
class CheckpointInfo:
    """The metadata of a checkpoint: all but its tensors."""

    images_seen: int
    image_shape: ImageShape
    """Channels, height and width of an image."""
    class_names: tuple[str, ...]
    """The names of the classes of the data, also for an unconditional model."""
    recipe: Recipe
    data_position: int
    """Position in the endless sequence of training images, skipped batches included."""
    skipped_batches: tuple[int, ...] = ()
    """Data positions of the batches that were skipped because their loss was not finite."""
    std: float = 0.0
    """The relative length of the power-function EMA, if the checkpoint holds only that; else 0."""
    class_counts: tuple[int, ...] = ()
    """How many training images each class has; empty where that is not known."""
    run_id: str = ""
    """The identity of its run: a hash of the recipe that the run began with."""
    data: Fingerprint = Fingerprint()
    """The fingerprint of the training images; unknown in older checkpoints."""


@dataclass(frozen=True)
class CheckpointRef:
    """A checkpoint file that was found: metadata and weights are then read from the same file."""

    file: Path
    sha256: str
    """Checksum of all bytes of the file."""
    about: CheckpointInfo = field(compare=False)
    foreign: ForeignOptions | None = None
    """How it is read if it is a model of another program; its `sha256` is then empty."""


def load_model(ref: CheckpointRef, runtime: Runtime, weights: Literal["ema", "raw"] = "ema") -> Denoiser:
    """The trained model of a checkpoint, in evaluation mode, on the device of `runtime`.

    Raises ValueError if the file is gone, has changed since it was found, or does not fit its own recipe.
    """
    file, recipe, shape, classes = ref.file, ref.about.recipe, ref.about.image_shape, len(ref.about.class_names)
    try:
        tensors = read_weights(ref, weights)
    except FileNotFoundError:
        raise ValueError(f"{file} is gone: its run has saved newer ones, so repeat the command") from None
    with errors_name_file(file), torch.device("meta"):  # refuses a network of absurd size before it takes memory
        check_matches(tensors, build_denoiser(recipe, shape, classes).net.state_dict(), file)
    with torch.random.fork_rng(devices=[]):  # weights are initialized, and then replaced
        model = runtime.to_device(build_denoiser(recipe, shape, classes))
    model.net.load_state_dict(tensors)
    if runtime.compile is True:
        model.net.compile()
    return model.eval()


def read_weights(ref: CheckpointRef, weights: Literal["ema", "raw"] = "ema") -> dict[str, Tensor]:
    """The tensors of the network of a checkpoint. Raises as `read_tensors`, and ValueError for weights that a model of
    another program does not have."""
    if ref.foreign is None:
        return read_tensors(ref.file, {"ema": "ema.", "raw": "model."}[weights], ref.sha256)
    tensors = read_foreign(ref.file, ref.foreign).tensors
    if weights not in tensors:
        raise ValueError(f"{ref.file} has no {weights} weights: choose {' or '.join(tensors)}")
    return dict(tensors[weights])


def foreign_tensors(ref: CheckpointRef) -> dict[str, Tensor]:
    """All weights of a model of another program, by their names in a checkpoint."""
    tensors = read_foreign(ref.file, ref.foreign or ForeignOptions()).tensors
    prefixes = {"ema": "ema.", "raw": "model."}
    return {f"{prefixes[kind]}{name}": tensor for kind, state in tensors.items() for name, tensor in state.items()}


def guidance_model(sampling: Sampling) -> str:
    """The run of the weaker model that guides this sampling; empty without one."""
    return sampling.guidance_model if sampling.guidance.enabled else ""


def load_guides(samplings: Sequence[Sampling], runtime: Runtime) -> list[Denoiser | None]:
    """The guidance model of each of these samplings, None where there is none.

    A run that is training may save newer checkpoints meanwhile: each is found once, by the main process for all.
    """
    names = [guidance_model(sampling) for sampling in samplings]
    refs = distributed.broadcast_object(lambda: {name: find_checkpoint(name) for name in dict.fromkeys(names) if name})
    models = {name: load_model(ref, runtime) for name, ref in refs.items()}
    return [models.get(name) for name in names]


def find_checkpoint(path: Path | str) -> CheckpointRef:
    """The checkpoint of a name, as `checkpoint_path` finds it now (a run that is training saves newer ones); or the
    model of another program in this file or folder.

    Raises ValueError if there is none.
    """
    if is_foreign(Path(path)):
        return find_foreign(Path(path), ForeignOptions())
    file = checkpoint_path(Path(path))
    data, checksum = read_header(file)
    return CheckpointRef(file, checksum, info_from(data, file))


def find_foreign(path: Path, options: ForeignOptions) -> CheckpointRef:
    """The model of another program. Raises ValueError if it is none that limpid reads."""
    model = read_foreign(path, options)
    if model.metadata:
        return CheckpointRef(path, "", info_from(with_new_names("CheckpointInfo", model.metadata), path), options)
    about = CheckpointInfo(0, model.image_shape, model.class_names, model.recipe, 0)
    return CheckpointRef(path, "", about, options)


def checkpoint_path(path: Path) -> Path:
    """The file itself, the newest checkpoint of a run folder, the model in a folder that was exported for the Hub, or
    the file of a pretrained network or model of the Hub.

    Raises ValueError if there is none.
    """
    if is_hub_name(str(path)):
        return pull(path.as_posix())
    if is_model_name(path):
        return PRETRAINED_DIR / PRETRAINED[str(path)]
    file = latest(path / "checkpoints") if path.is_dir() else path
    if file is None and is_hub_folder(path):
        return path / MODEL_FILE
    if file is None or not file.exists():
        expected = "train it first, or name a run folder or a checkpoint"
        raise ValueError(f"no checkpoint in {path}: {expected}; {pretrained_hint(path)}")
    return file


def pretrained_hint(path: Path) -> str:
    """A hint: what to type instead of a name that is not a run."""
    shipped = f"for a network that comes with limpid type {' or '.join(PRETRAINED)}"
    return f"{shipped}, for the run of that name {Path('runs') / path}" if (Path("runs") / path).is_dir() else shipped


def is_model_name(path: Path) -> bool:
    """Whether this is the name of a model, not a path: of one on the Hub, or of one that comes with limpid."""
    return is_hub_name(str(path)) or (str(path) in PRETRAINED and not path.exists())


def output_folder(path: Path) -> Path:
    """The folder for the outputs of a model: that of the run; NAME beside a NAME.safetensors that is in no run;
    runs/shipped/NAME for a pretrained network, runs/hub/user/name for a model of the Hub, runs/imported/NAME for one of
    another program.

    Raises ValueError if a folder in it is a link: outputs would be written somewhere else.
    """
    folder = _folder_of(path)
    refuse_linked_folders(folder)
    return folder


def _folder_of(path: Path) -> Path:
    if is_foreign(path):
        return Path("runs", "imported", path.resolve().stem)
    if is_hub_name(str(path)):
        return Path("runs", "hub", str(parse_hub_name(path.as_posix())).removeprefix(HUB_PREFIX))
    if path.is_dir():
        return path
    if is_model_name(path):
        return Path("runs", "shipped", Path(PRETRAINED[str(path)]).stem)
    in_run = path.parent.name in ("checkpoints", "best") or path.parent.parent.name in (SNAPSHOTS, RESULTS)
    return path.parent.parent if in_run else path.with_suffix("")


def load_info(file: Path) -> CheckpointInfo:
    """The metadata of a checkpoint file. Raises ValueError if it is broken or not valid."""
    return info_from(read_data(file), file)


def info_from(data: Plain, file: Path) -> CheckpointInfo:
    """The metadata from its plain data. Raises ValueError, with the file's name, if it is not valid."""
    with errors_name_file(file):
        about = from_dict(CheckpointInfo, data, "its data")
        if long := [name for name in about.class_names if len(name) > LONGEST_CLASS_NAME]:
            raise ValueError(f"a class name in it, {long[0][:60]!r}, is longer than {LONGEST_CLASS_NAME} characters")
        return replace(about, class_names=tuple(map(printable, about.class_names)))
