"""Post-hoc EMA (Karras et al. 2024, section 3.2): the EMA of any length from the snapshots that a run has saved."""

from pathlib import Path

from limpid.optim.ema import folder_name, linear_combination, solve_posthoc_coefficients
from limpid.storage import checkpoint
from limpid.storage.lock import waiting_lock
from limpid.storage.regular_files import refuse_linked_folders

SNAPSHOTS = "snapshots"
RESULTS = "averages"
"""The folders in a run for the snapshots, and for the EMAs that are computed from them."""


def build_posthoc_ema(run: Path | str, std: float) -> Path:
    """Compute the power-function EMA of relative length `std` at the end of a run; returns its checkpoint.

    Raises ValueError for a run that has saved no snapshots, and for a length that is not between 0 and 0.288.
    """
    folder = Path(run)
    refuse_linked_folders(folder)
    files = [
        file for snapshots in sorted((folder / SNAPSHOTS).glob("*")) for file in checkpoint.list_checkpoints(snapshots)
    ]
    if not folder.is_dir():
        raise ValueError(f"no run folder at {run}: expected one that was trained with --ema-snapshots 0.05 0.1")
    if not files:
        raise ValueError(f"{run} has no snapshots of an EMA: train with --ema-snapshots 0.05 0.1")
    headers = [checkpoint.read_data(file) for file in files]
    images_seen = max(header["images_seen"] for header in headers)
    snapshots = [(header["images_seen"], header["std"]) for header in headers]
    coefficients = solve_posthoc_coefficients(snapshots, (images_seen, std))
    tensors = linear_combination([checkpoint.read_tensors(file) for file in files], coefficients)
    header = headers[-1] | {"images_seen": images_seen, "std": std}
    results = folder / RESULTS
    with waiting_lock(results / "lock"):
        return checkpoint.save_checkpoint(results / folder_name(std), images_seen, tensors, header)
