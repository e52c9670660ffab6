"""A run whose steps have become slow warns once, with advice, and trains on to the same bits."""

from dataclasses import replace
from itertools import accumulate, repeat
from pathlib import Path

import pytest
import torch
from tiny_recipes import CPU, TINY

from limpid.recipes.recipe import Every
from limpid.runtime import cpu
from limpid.runtime.device import Runtime
from limpid.storage import checkpoint
from limpid.training import step_times
from limpid.training.active_run import Run
from limpid.training.run import run
from limpid.training.step_times import StepTimes

pytestmark = pytest.mark.usefixtures("no_final_figures")
QUICK, SLOW, AFTER = list(repeat(0.1, 1000)), list(repeat(0.4, 200)), list(repeat(0.1, 1000))


def output(steps: list[float]) -> list[tuple[int, str]]:
    """The warnings for steps of these seconds, each with the number of steps before it."""
    times = StepTimes()
    words = [times.add(clock) for clock in accumulate(steps)]
    return [(number, word) for number, word in enumerate(words) if word]


@pytest.mark.parametrize(
    ("steps", "times"),
    [
        (QUICK + SLOW, 1),
        (QUICK + SLOW + AFTER + SLOW, 1),
        (SLOW + QUICK, 0),
        (QUICK + list(repeat(0.25, 400)), 0),
        (QUICK + SLOW[:60] + AFTER, 0),
        ([*QUICK, 3600.0, *AFTER], 0),
        (list(repeat(20.0, 10)) + list(repeat(90.0, 4)), 1),
        ([100.0, *repeat(0.5, 1000)], 0),
        ([], 0),
    ],
    ids=["slow", "twice", "quicker", "not three times", "24 s", "suspended", "long steps", "compiled", "none"],
)
def test_steps_that_take_three_times_their_usual_for_a_minute_are_spoken_of_once(steps: list[float], times: int):
    assert len(output(steps)) == times


def test_the_first_word_comes_half_a_minute_or_more_after_steps_have_become_slow():
    ((step, word),) = output(QUICK + SLOW)
    assert 30 < 0.4 * (step - len(QUICK)) < 70
    assert word == "a step takes 0.4 s now, usually 0.1 s"


def test_what_would_help_is_measured(monkeypatch: pytest.MonkeyPatch):
    for best, words in ((1, "--threads 1 would be faster than 4"), (4, "fewer threads would not be faster")):
        monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
        monkeypatch.setattr(cpu, "best_thread_count", lambda most, best=best: best)
        assert words in step_times.advice(CPU)
    assert "see what else uses cuda:1" in step_times.advice(Runtime("cuda:1"))


def test_a_run_beside_another_busy_program_says_what_would_help_and_keeps_its_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    recipe = replace(TINY, duration=30 * 4, batch_size=4, every=Every(log=20, sample=0, save=60))
    run(recipe, tmp_path / "quiet", CPU)
    assert "usually" not in capsys.readouterr().err
    clock = list(accumulate([*repeat(2.0, 20), *repeat(30.0, 11)]))
    monkeypatch.setattr(Run, "clock", lambda self: clock[self.state.images_seen // 4])
    monkeypatch.setattr(cpu, "best_thread_count", lambda most: most)
    run(recipe, tmp_path / "busy", CPU)
    words = capsys.readouterr().err
    assert words.count("usually") == 1
    quiet, busy = (
        checkpoint.read_tensors(checkpoint.list_checkpoints(tmp_path / name / "checkpoints")[-1])
        for name in ("quiet", "busy")
    )
    assert [name for name in quiet if not torch.equal(quiet[name], busy[name])] == []


@pytest.mark.parametrize(("given", "inside"), [(0, 1), (2, 2)])
def test_sampling_takes_the_fastest_number_of_threads_unless_it_was_given(
    given: int, inside: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cpu, "best_thread_count", lambda most: most // 2)
    with Runtime("cpu", threads=2).settings():
        with Runtime("cpu", threads=given).sampling_threads():
            assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == 2
        assert Runtime("cpu").setup().threads == 1
