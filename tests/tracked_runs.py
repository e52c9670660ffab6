"""The log of a run, as trackers have it."""

import json
from pathlib import Path

import numpy as np


def logged(folder: Path, name: str) -> list[tuple[int, np.float32]]:
    """The values of a field of the log by the number of images seen, in the precision of the trackers."""
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [(line["images_seen"], np.float32(line[name])) for line in lines if name in line]
