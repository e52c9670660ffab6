"""The published weights of FID's Inception network: found on disk or downloaded, verified, and loaded."""

import hashlib
import pickle
from pathlib import Path

import torch
from torch import Tensor

from limpid.metrics.extractors.inception import Inception
from limpid.storage.download import download, expand_home
from limpid.storage.regular_files import require_regular

FILENAMES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
"""Names under which torch-fidelity and pytorch-fid publish the same file."""
URLS = (
    f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILENAMES[0]}",
    f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILENAMES[1]}",
)
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def find_inception_weights(path_or_folder: str = "") -> Path:
    """The path of the weight file; `path_or_folder` is the file or its folder, and if empty torch's own folder.

    Torch's folder is $TORCH_HOME/hub/checkpoints, or ~/.cache/torch/hub/checkpoints, which other tools use too; if the
    file is not there, it is downloaded to it (96 MB). Raises ValueError if there is no such file, if its SHA-256 is
    not that of the published one, or if it cannot be downloaded.
    """
    folder = expand_home(path_or_folder) if path_or_folder else expand_home(torch.hub.get_dir()) / "checkpoints"
    for path in [folder / name for name in FILENAMES] + [folder]:
        if path.is_file():
            return _checked(path)
    if path_or_folder:
        raise ValueError(
            f"no Inception weights at {folder}: expected that file, or {' or '.join(FILENAMES)} in that folder"
        )
    return _downloaded(folder)


def _checked(path: Path) -> Path:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(f"{path} is not the published Inception: its SHA-256 is {found}, expected {SHA256}")
    return path


def _downloaded(folder: Path) -> Path:
    failures = []
    for url in URLS:
        path = folder / url.rpartition("/")[2]
        try:
            download(url, f"sha256:{SHA256}", path)
            return path
        except ValueError as error:
            failures.append(str(error))
    advice = f"copy {' or '.join(FILENAMES)} from another machine and give its path"
    raise ValueError(f"no Inception weights in {folder}, and {', and '.join(failures)}; {advice}")


def load_inception(path: Path) -> Inception:
    """The network with the weights of a file, its batch norms folded. Raises ValueError if the tensors do not fit."""
    try:
        require_regular(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0] or "the file is truncated"
        raise ValueError(f"cannot read the weights in {path}: {reason}") from error
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise ValueError(f"cannot read the weights in {path}: expected a dictionary of tensors by name")
    with torch.random.fork_rng(devices=[]):  # the random initial weights are replaced below
        network = Inception()
    network.load_state_dict(_matching(weights, network, path), strict=False)
    return network.fold().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _matching(weights: dict[str, Tensor], network: Inception, path: Path) -> dict[str, Tensor]:
    """The tensors of the file without the batch counts of its norms. Raises ValueError unless they fit the network."""
    expected = {name: tensor.shape for name, tensor in network.state_dict().items() if not _is_batch_count(name)}
    weights = {name: tensor for name, tensor in weights.items() if not _is_batch_count(name)}
    wrong = {
        "missing": sorted(expected.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - expected.keys()),
        "of another shape": [name for name in expected if name in weights and weights[name].shape != expected[name]],
    }
    if faults := [f"{len(names)} tensors {what}, as {names[0]}" for what, names in wrong.items() if names]:
        raise ValueError(f"{path} does not hold the weights of Inception: {'; '.join(faults)}")
    return weights


def _is_batch_count(name: str) -> bool:
    return name.endswith(".num_batches_tracked")
