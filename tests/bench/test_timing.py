"""What is measured is what was done."""

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
    interleaved,
    peak_kernels,
    peak_rss,
    time_seconds,
)

MIB = 2**20


def test_a_figure_is_the_median_and_half_of_the_turns_lie_between_its_quartiles():
    figure = Measurement((5.0, 1.0, 3.0, 2.0, 4.0))
    assert figure.median == 3
    assert figure.quartiles == (2, 4)
    assert figure.per(12.0).median == 4
    assert Measurement((1.0,)).quartiles == (1, 1)


def test_a_ratio_is_taken_turn_by_turn():
    slow_machine_halfway = Measurement((1.0, 1.0, 10.0, 10.0)).ratio(Measurement((2.0, 2.0, 20.0, 20.0)))
    assert slow_machine_halfway.rounds == (0.5, 0.5, 0.5, 0.5)


def test_works_take_turns_and_each_is_done_twice_before():
    done = []
    clocks = {name: clock(partial(done.append, name), "cpu") for name in "ab"}
    figures = interleaved(clocks, rounds=3, seconds=0.0)
    assert "".join(done) == "aabb" + "ab" * 3
    assert all(len(figure.rounds) == 3 for figure in figures.values())


def test_a_work_takes_as_long_as_it_takes():
    assert 0.06 <= time_seconds(partial(time.sleep, 0.02), "cpu", 3) < 1


def test_a_turn_lasts_as_long_as_it_should_and_its_figure_is_of_one_time():
    figures = interleaved({"sleep": clock(partial(time.sleep, 0.01), "cpu")}, rounds=2, seconds=0.05)
    assert all(0.01 <= seconds < 0.05 for seconds in figures["sleep"].rounds)


def test_operations_are_counted_as_by_hand():
    x, kernel = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 3, 3, requires_grad=True)
    forward = 2 * 2 * 8 * 8 * 5 * 3 * 3 * 3
    assert count_flops(lambda: F.conv2d(x, kernel.detach(), padding=1)) == forward
    assert count_flops(lambda: F.conv2d(x, kernel, padding=1).sum().backward()) == 2 * forward
    q = torch.randn(2, 3, 16, 8)
    assert count_flops(lambda: F.scaled_dot_product_attention(q, q, q)) == 2 * (2 * 2 * 3 * 16 * 16 * 8)


def test_the_best_of_a_device_says_what_it_does():
    best = peak_kernels("cpu", torch.float32, size=64)
    assert list(best) == ["matrix product 64x64x64", "convolution 3x3, 1x256x32x32"]
    for work, operations in best.values():
        assert count_flops(work) == operations


def holding(mebibytes: int) -> Work:
    """Work that fills so much memory."""
    return partial(torch.ones, mebibytes * MIB // 4)


def test_the_peak_of_memory_is_that_of_a_process_of_its_own():
    ballast = torch.ones(200 * MIB // 4)
    with IsolatedWorker("cpu", holding, 1) as little, IsolatedWorker("cpu", holding, 120) as much:
        assert min(little.lasting(2), much.lasting(1)) > 0
        assert 110 * MIB < much.memory() - little.memory() < 140 * MIB
        assert little.memory() < peak_rss()
    del ballast


def failing() -> Work:
    raise ValueError("no such work")


def test_what_goes_wrong_in_another_process_is_raised_here():
    with IsolatedWorker("cpu", failing) as work, pytest.raises(ValueError, match="no such work"):
        work.arithmetic()
    with (
        IsolatedWorker("cpu", sys.exit, 1) as work,
        pytest.raises(MemoryError, match="the process that was measured has died"),
    ):
        work.memory()


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells memory of one's own from pages of files")
def test_memory_of_ones_own_is_counted_without_the_pages_of_files(tmp_path: Path):
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
