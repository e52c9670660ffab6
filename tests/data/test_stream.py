import gc
import multiprocessing
from dataclasses import dataclass
from itertools import islice

import pytest
import torch
from torch import Tensor

from limpid.data.images import ImageDataset, shuffled_indices
from limpid.data.stream import DataSource, MapDataset, StreamingDataset

N = 37


@dataclass(frozen=True)
class Numbers:
    """Images that are made when they are read: all values of an image are its index."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]:
        return torch.full((3, 4, 4), index, dtype=torch.uint8), index % 5


def resident() -> ImageDataset:
    pixels, labels = zip(*(Numbers()[i] for i in range(N)), strict=True)
    return ImageDataset(torch.stack(pixels), torch.tensor(labels), tuple("abcde"))


def streamed(workers: int) -> StreamingDataset:
    return StreamingDataset(Numbers(), (3, 4, 4), tuple("abcde"), workers)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("seen", [0, 101])
def test_a_stream_gives_the_batches_that_memory_gives(workers: int, seen: int):
    both = zip(streamed(workers).batches(seen, 8, seed=5), resident().batches(seen, 8, seed=5), strict=True)
    for there, here in islice(both, 12):
        assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(there, here, strict=True))


def test_a_stream_and_a_set_in_memory_look_alike():
    sources: list[DataSource] = [streamed(0), resident()]
    output = {(len(s), s.shape, s.class_names, s.classes) for s in sources}
    assert output == {(N, (3, 4, 4), tuple("abcde"), 5)}
    assert isinstance(Numbers(), MapDataset)


def test_the_batches_of_a_stream_are_on_its_device():
    pixels, labels = next(streamed(0).to("meta").batches(0, 8, seed=0))
    assert (pixels.device.type, labels.device.type) == ("meta", "meta")


def test_workers_end_when_the_batches_are_no_longer_wanted():
    batches = streamed(2).batches(0, 8, seed=0)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    del batches
    gc.collect()
    assert multiprocessing.active_children() == []


def test_streaming_leaves_torchs_global_randomness_alone():
    before = torch.get_rng_state()
    next(streamed(0).batches(0, 8, seed=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stream_begins_at_any_image_at_once():
    """No image before the first one wanted is read, however far into the run that is."""
    read: list[int] = []

    class Watched(Numbers):
        def __getitem__(self, index: int, /) -> tuple[Tensor, int]:
            read.append(index)
            return super().__getitem__(index)

    next(StreamingDataset(Watched(), (3, 4, 4)).batches(10**9, 8, seed=0))
    assert read == shuffled_indices(10**9, 8, N, seed=0).tolist()
