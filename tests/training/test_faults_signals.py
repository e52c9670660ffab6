"""Signals stop a run after its step, and the resumed run is the same to the bit."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_faults import call_at
from run_results import checkpoint_images, same_weights
from tiny_recipes import CPU, SHORT

from limpid.sampling import figures
from limpid.sampling.samples import Samples
from limpid.storage.lock import exclusive
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_sigterm_saves_after_the_current_step(uninterrupted: Path, tmp_path: Path, monkeypatch):
    with monkeypatch.context() as patch:
        call_at(64, lambda: signal.raise_signal(signal.SIGTERM), patch)
        assert not run(replace(SHORT, every=replace(SHORT.every, save=0)), tmp_path, CPU)
    assert checkpoint_images(tmp_path) == [0, 64]
    assert run(SHORT, tmp_path, CPU)
    assert same_weights(tmp_path, uninterrupted)


def test_a_second_signal_ends_the_run_at_once(tmp_path: Path, monkeypatch):
    def signal_twice() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    call_at(64, signal_twice, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(SHORT, tmp_path, CPU)
    assert checkpoint_images(tmp_path) == [0, 32]
    with exclusive(tmp_path):
        pass  # the lock was released


def test_a_stop_request_interrupts_sampling_and_the_grid_is_made_on_resume(tmp_path: Path, monkeypatch):
    with_samples = replace(SHORT, every=replace(SHORT.every, sample=64, save=0))
    preview_samples, folder, straight = figures.preview_samples, tmp_path / "run", tmp_path / "straight"
    assert run(with_samples, straight, CPU)
    with monkeypatch.context() as patch:

        def interrupted_sampling(*args: Any) -> Samples:
            signal.raise_signal(signal.SIGTERM)
            return preview_samples(*args)

        patch.setattr(figures, "preview_samples", interrupted_sampling)
        assert not run(with_samples, folder, CPU)
    assert checkpoint_images(folder) == [0, 64]
    assert list((folder / "samples").glob("*")) == []
    assert run(with_samples, folder, CPU)
    for name in ("000000000064.png", "000000000128.png"):
        assert (folder / "samples" / name).read_bytes() == (straight / "samples" / name).read_bytes()


def test_an_error_in_sampling_loses_no_training_step(uninterrupted: Path, tmp_path: Path, monkeypatch):
    with_samples = replace(SHORT, every=replace(SHORT.every, sample=64, save=64))
    with monkeypatch.context() as patch:
        patch.setattr(figures, "preview_samples", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(with_samples, tmp_path, CPU)
    assert checkpoint_images(tmp_path) == [0, 64]
    assert run(with_samples, tmp_path, CPU)
    assert (tmp_path / "samples" / "000000000064.png").exists()
    assert same_weights(tmp_path, uninterrupted)


def test_sighup_saves_and_never_ends_a_run_at_once(uninterrupted: Path, tmp_path: Path, monkeypatch):
    def hang_up() -> None:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        call_at(64, hang_up, patch)
        assert not run(replace(SHORT, every=replace(SHORT.every, save=0)), tmp_path, CPU)
    assert checkpoint_images(tmp_path) == [0, 64]
    assert run(SHORT, tmp_path, CPU)
    assert same_weights(tmp_path, uninterrupted)


def test_under_nohup_a_closed_terminal_stops_nothing(tmp_path: Path, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        call_at(64, lambda: signal.raise_signal(signal.SIGHUP), monkeypatch)
        assert run(SHORT, tmp_path, CPU)
    finally:
        signal.signal(signal.SIGHUP, before)
