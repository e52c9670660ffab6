"""What the tests of data share: a cache of their own, and a CIFAR-10 that is made up."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which images are cached while a test runs."""
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@dataclass(frozen=True, eq=False)
class Made:
    """A test split of CIFAR-10 that is made up: what is in it, and its file in either version."""

    pixels: Tensor
    labels: Tensor
    pickled: bytes
    records: bytes


@pytest.fixture(scope="session")
def made() -> Made:
    few = np.random.default_rng(0).integers(256, size=(100, 3072), dtype=np.uint8)
    pixels, labels = np.tile(few, (100, 1)), np.arange(10_000, dtype=np.uint8) * 7 % 10
    pickled = pickle.dumps({b"data": pixels, b"labels": labels.tolist()}, protocol=4)
    records = np.concatenate([labels[:, None], pixels], 1).tobytes()
    return Made(torch.from_numpy(pixels).view(-1, 3, 32, 32), torch.from_numpy(labels).long(), pickled, records)
