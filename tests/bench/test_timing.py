"""Time, FLOPs and memory are those of the work."""

import mmap
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from limpid.bench.timing import (
    STATUS,
    IsolatedWorker,
    Measurement,
    Work,
    anonymous_rss,
    clock,
    count_flops,
    peak_kernels,
    peak_rss,
    time_interleaved,
    time_seconds,
)

MIB = 2**20


def test_half_of_the_rounds_lie_between_the_quartiles():
    figure = Measurement((5.0, 1.0, 3.0, 2.0, 4.0))
    assert figure.median == 3
    assert figure.quartiles == (2, 4)
    assert figure.per(12.0).median == 4
    assert Measurement((1.0,)).quartiles == (1, 1)


def test_a_ratio_is_taken_round_by_round():
    slow_machine_halfway = Measurement((1.0, 1.0, 10.0, 10.0)).ratio(Measurement((2.0, 2.0, 20.0, 20.0)))
    assert slow_machine_halfway.rounds == (0.5, 0.5, 0.5, 0.5)


def test_functions_are_interleaved_and_each_runs_twice_for_warmup():
    done = []
    clocks = {name: clock(partial(done.append, name), "cpu") for name in "ab"}
    figures = time_interleaved(clocks, rounds=3, seconds=0.0)
    assert "".join(done) == "aabb" + "ab" * 3
    assert all(len(figure.rounds) == 3 for figure in figures.values())


def test_the_seconds_are_those_of_all_calls():
    assert 0.06 <= time_seconds(partial(time.sleep, 0.02), "cpu", 3) < 1


def test_a_round_lasts_the_given_seconds_and_its_value_is_of_one_call():
    figures = time_interleaved({"sleep": clock(partial(time.sleep, 0.01), "cpu")}, rounds=2, seconds=0.05)
    assert all(0.01 <= seconds < 0.05 for seconds in figures["sleep"].rounds)


def test_flops_are_those_of_the_formula():
    x, kernel = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 3, 3, requires_grad=True)
    forward = 2 * 2 * 8 * 8 * 5 * 3 * 3 * 3
    assert count_flops(lambda: F.conv2d(x, kernel.detach(), padding=1)) == forward
    assert count_flops(lambda: F.conv2d(x, kernel, padding=1).sum().backward()) == 2 * forward
    q = torch.randn(2, 3, 16, 8)
    assert count_flops(lambda: F.scaled_dot_product_attention(q, q, q)) == 2 * (2 * 2 * 3 * 16 * 16 * 8)


def test_the_peak_kernels_state_their_flops():
    kernels = peak_kernels("cpu", torch.float32, size=64)
    assert list(kernels) == ["matrix product 64x64x64", "convolution 3x3, 1x256x32x32"]
    for work, operations in kernels.values():
        assert count_flops(work) == operations


def allocate(mebibytes: int) -> Work:
    """Work that allocates this much memory."""
    return partial(torch.ones, mebibytes * MIB // 4)


def test_the_peak_of_memory_is_that_of_the_isolated_process():
    ballast = torch.ones(200 * MIB // 4)
    with IsolatedWorker("cpu", allocate, 1) as little, IsolatedWorker("cpu", allocate, 120) as much:
        assert min(little.time_seconds(2), much.time_seconds(1)) > 0
        assert 110 * MIB < much.peak_memory() - little.peak_memory() < 140 * MIB
        assert little.peak_memory() < peak_rss()
    del ballast


def fail() -> Work:
    raise ValueError("no such work")


def test_an_exception_in_the_isolated_process_is_raised_here():
    with IsolatedWorker("cpu", fail) as work, pytest.raises(ValueError, match="no such work"):
        work.count_flops()
    with (
        IsolatedWorker("cpu", sys.exit, 1) as work,
        pytest.raises(MemoryError, match="the process that was measured has died"),
    ):
        work.peak_memory()


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux counts anonymous memory apart")
def test_anonymous_memory_excludes_the_pages_of_files(tmp_path: Path):
    size = 64 * 2**20
    path = tmp_path / "pages"
    path.write_bytes(bytes(size))
    before = anonymous_rss()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        assert sum(pages[i] for i in range(0, size, 4096)) == 0
        assert anonymous_rss() - before < size / 4
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"1" * size)
        assert anonymous_rss() - before > size * 3 / 4
