"""The content of EDM's network snapshots, with the shapes and settings of originals.json."""

import json
from pathlib import Path
from typing import Any

import torch
from originals import fill
from persistent_pickles import snapshot

ORIGINALS = json.loads(Path(__file__).with_name("interop").joinpath("originals.json").read_text())
KINDS = {"ddpm++": "SongUNet", "ncsn++": "SongUNet", "adm": "DhariwalUNet", "iddpm": "DhariwalUNet"}
EDM = {"sigma_data": 0.5, "sigma_min": 0, "sigma_max": float("inf")}
IDDPM = {"M": 1000, "C_1": 0.001, "C_2": 0.008}


def edm_snapshot(name: str, precond: Any = "", **changes: Any) -> dict[str, Any]:
    """The dict in EDM's snapshot of a network of originals.json, with changed settings."""
    original = ORIGINALS[f"edm, {name}"]
    fixed = set(original["fixed"])
    shapes = {n: shape for n, shape in original["shapes"].items() if n != "u"}
    state = fill({n: shape for n, shape in shapes.items() if n not in fixed})
    # The blocks are in the order in which they run.
    tensors = {n.removeprefix("model."): state.get(n, torch.ones(shape)) for n, shape in shapes.items()}
    buffers = {n for n in tensors if n.endswith(("freqs", "resample_filter"))}
    precond = precond or ("iDDPMPrecond" if name == "iddpm" else "EDMPrecond")
    attributes = IDDPM if name == "iddpm" else EDM
    return snapshot(precond, KINDS[name], original["settings"] | changes, tensors, buffers, **attributes)
