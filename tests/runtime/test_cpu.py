"""What is done for speed on a CPU is done where it can be, is no more than that, and leaves the user's own choices."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_recipes import TINY

from limpid.runtime import cpu
from limpid.runtime.device import COMPILE_FROM_IMAGES, TrainingRuntime
from limpid.training.run_folder import with_previous_choices
from limpid.training.state import init_state

FREE = {name: value for name, value in os.environ.items() if name not in (*cpu.ALLOCATOR, *cpu.AFFINITY_VARIABLES)}


def python(code: str, **environment: str) -> str:
    """What code prints in a fresh process, in which nobody has chosen anything but `environment`."""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=FREE | environment, check=True
    )
    return run.stdout.strip()


STEPS = """
import resource
import numpy
from limpid.runtime import cpu
kept = cpu.keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        parts = [numpy.ones(3 * 2**20) for _ in range(3)]
        del parts
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


@pytest.mark.skipif(not os.confstr("CS_GNU_LIBC_VERSION"), reason="only glibc hands memory back at once")
def test_freed_memory_is_reused_by_the_next_step_without_page_faults():
    kept, faults = python(STEPS).split()
    assert kept == "True"
    assert int(faults) < 100
    kept, faults = python(STEPS, MALLOC_TRIM_THRESHOLD_="131072").split()
    assert kept == "False"
    assert int(faults) > 1000


THREADS = """
import os, torch
from limpid.runtime import cpu
allowed = os.sched_getaffinity(0)
cores = len(cpu.first_of_each_core(sorted(allowed)))
torch.set_num_threads(cores - 1)
fewer = cpu.pin_threads()
torch.set_num_threads(cores)
os.environ["OMP_PROC_BIND"] = "false"
placed = cpu.pin_threads()
del os.environ["OMP_PROC_BIND"]
print(fewer, placed, {os.sched_getaffinity(0) == os.sched_getaffinity(thread) for thread in cpu._threads()})
spread = cpu.pin_threads()
held = [tuple(os.sched_getaffinity(thread)) for thread in cpu._threads() if os.sched_getaffinity(thread) != allowed]
print(spread, os.sched_getaffinity(0) == allowed, {len(cores) for cores in held}, len(set(held)))
"""
CORES = len(cpu.first_of_each_core(sorted(os.sched_getaffinity(0)))) if hasattr(os, "sched_getaffinity") else 1


@pytest.mark.skipif(CORES < 2, reason="threads are spread over two cores or more")
def test_each_thread_gets_a_core_unless_there_are_too_few_or_the_user_has_placed_them():
    alone, spread = python(THREADS).splitlines()
    assert alone == "False False {True}"
    assert spread == f"True True {{1}} {CORES - 1}"  # the main thread stays free


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({4: 8.0, 2: 1.0, 1: 2.0}, 2),
        ({4: 8.0, 2: 4.0, 1: 1.0}, 1),
        ({4: 1.0, 2: 0.9, 1: 0.9}, 4),
        ({4: 1, 2: 1, 1: 1}, 4),
    ],
)
def test_on_a_busy_machine_the_fastest_number_of_threads_is_taken_and_in_doubt_all(
    seconds: dict[int, float], best: int, monkeypatch: pytest.MonkeyPatch
):
    now = [0.0]

    def clock() -> float:
        now[0] += seconds[torch.get_num_threads()]
        return now[0]

    for name in cpu.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getloadavg", lambda: (1.0, 1.0, 1.0))
    monkeypatch.setattr(cpu.time, "perf_counter", clock)
    for name in ("conv2d", "silu"):  # which the clock does not measure
        monkeypatch.setattr(torch.nn.functional, name, lambda x, *_, **__: x)
    before = torch.get_num_threads()
    try:
        assert cpu.best_thread_count(4) == best
        assert torch.get_num_threads() == 4
        monkeypatch.setattr("os.getloadavg", lambda: (0.0, 1.0, 1.0))
        assert cpu.best_thread_count(4) == 4
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
        assert cpu.best_thread_count(4) == 4
    finally:
        torch.set_num_threads(before)


def test_the_number_of_threads_can_be_chosen_and_a_resumed_run_has_that_of_its_start(tmp_path: Path):
    number = torch.get_num_threads()
    assert f"cpu, {number} thread" in str(TrainingRuntime("cpu", threads=number).resolve(32_000))
    with pytest.raises(ValueError, match=r"--threads -1: expected a number of threads"):
        TrainingRuntime("cpu", threads=-1).resolve()
    for written, read in (
        ({}, 0),
        ({"threads": 1}, 1),
        ({"threads": 1, "processes": 2}, 0),
        ({"threads": 10**6}, 0),
        ({"threads": "1"}, 0),
        ({"threads": True}, 0),
    ):
        assert with_previous_choices(TrainingRuntime("cpu"), environment_of(tmp_path, **written)).threads == read
        assert with_previous_choices(TrainingRuntime("cpu", threads=7), tmp_path).threads == 7


def test_a_resumed_run_has_the_precision_of_its_start_where_the_cpu_supports_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def precision(given: str = "auto", **written: object) -> str:
        runtime = TrainingRuntime("cpu", given)  # pyright: ignore[reportArgumentType]
        return with_previous_choices(runtime, environment_of(tmp_path, **written)).precision

    monkeypatch.setattr(cpu, "bfloat16_flags", lambda *_: {cpu.AVX512_BF16})
    for chosen in ("float32", "bfloat16"):
        assert precision(threads=1, precision=chosen) == chosen
        assert precision(threads=1, machine=f"cpu, 1 thread, {chosen}") == chosen
        assert precision(threads=1, machine=f"2 processes, each on cpu, 1 thread, {chosen}, compiled") == chosen
        assert precision("float32", threads=1, precision=chosen) == "float32"
        assert precision(threads=0, machine=f"cuda, {chosen}") == "auto"
    assert precision(threads=1, precision=["float32"]) == precision(threads=1) == precision() == "auto"
    monkeypatch.setattr(cpu, "bfloat16_flags", lambda *_: set())
    assert precision(threads=1, precision="bfloat16") == "auto"


def environment_of(folder: Path, **written: object) -> Path:
    (folder / "environment.json").write_text(json.dumps(written))
    return folder


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[1]", b"3", b"[" * 100_000])
def test_an_environment_that_cannot_be_read_is_named(damage: bytes, tmp_path: Path):
    path = tmp_path / "environment.json"
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=rf"cannot read {re.escape(str(path))} .*: remove it") as error:
        with_previous_choices(TrainingRuntime("cpu"), tmp_path)
    assert "\n" not in str(error.value)


def test_two_logical_cpus_of_one_core_count_once(tmp_path: Path):
    for number, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        place = tmp_path / f"cpu{number}" / "topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(siblings)
    assert cpu.first_of_each_core([0, 1, 2, 3], tmp_path) == [0, 1]
    assert cpu.first_of_each_core([2, 3], tmp_path) == [2, 3]
    assert cpu.first_of_each_core([5, 6], tmp_path) == [5, 6]


@pytest.mark.parametrize(
    ("flags", "speedup", "faster"),
    [
        ("avx2 avx512f avx512_bf16 avx512_vnni", 1.7, True),  # AMD Zen 4 and 5
        ("avx2 avx512f avx512_bf16 avx512_vnni", 0.54, False),  # Intel Sapphire Rapids, whose AMX the hypervisor hides
        ("avx512f avx512_bf16 amx_bf16 amx_tile", 0.54, True),  # which is not measured
        ("avx2 avx512f avx512_vnni", 1.7, False),
        ("fp asimd bf16", 1.7, False),
    ],
)
def test_bfloat16_is_chosen_only_where_the_cpu_is_faster_with_it(
    flags: str, speedup: float, faster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(cpu, "bfloat16_speedup", lambda: speedup)
    assert cpu.is_bfloat16_faster(path) == faster
    assert cpu.model(path) == "Some CPU"


def test_the_speed_of_bfloat16_is_the_shortest_time_in_float32_over_the_shortest_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
):
    seconds = iter([0.9, 0.3, 0.2, 0.1, 5.0, 0.4])  # float32 and bfloat16 by turns
    ends: list[float] = []

    def clock() -> float:  # the begin of each measurement is 0
        ends.append(0.0 if len(ends) % 2 == 0 else next(seconds))
        return ends[-1]

    monkeypatch.setattr(cpu.time, "perf_counter", clock)
    threads = torch.get_num_threads()
    assert cpu.bfloat16_speedup.__wrapped__(rounds=3) == pytest.approx(0.2 / 0.1)
    assert torch.get_num_threads() == threads


def test_where_the_kernel_does_not_describe_the_cpu_float32_is_chosen(tmp_path: Path):
    assert not cpu.is_bfloat16_faster(tmp_path / "missing")
    assert cpu.model(tmp_path / "missing") == ""


def test_the_choices_for_a_machine_are_printed_in_a_line_and_each_can_be_overruled():
    chosen = TrainingRuntime("cpu").resolve()
    assert str(chosen).startswith("cpu, ")
    assert chosen.precision == ("bfloat16" if cpu.is_bfloat16_faster() else "float32")
    assert str(TrainingRuntime("cpu", "float32").resolve()).endswith("float32")
    assert str(TrainingRuntime("cpu", "bfloat16", compile=True).resolve()).endswith("bfloat16, compiled")


def test_an_unresolved_runtime_compiles_nothing():
    state = init_state(TINY, (1, 8, 8), 10, TrainingRuntime("cpu", "float32"))
    assert state.model.net._compiled_call_impl is None


@pytest.mark.parametrize("images", [0, COMPILE_FROM_IMAGES, 100 * COMPILE_FROM_IMAGES])
def test_on_a_cpu_nothing_is_compiled_by_default(images: int):
    assert TrainingRuntime("cpu").resolve(images).compile is False
    assert TrainingRuntime("cpu", compile=True).resolve(images).compile is True
