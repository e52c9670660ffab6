"""A run can be stopped at any step, and the resumed run is the same to the bit."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from run_faults import stop_at
from run_results import checkpoint_images, log_without_speed, newest_checkpoint, same_run
from tiny_recipes import CPU, FULL, TINY

from limpid.storage import checkpoint
from limpid.training.run import run
from limpid.training.run_folder import failure_recorded
from limpid.training.state import init_state

pytestmark = pytest.mark.usefixtures("no_final_figures")


@pytest.mark.parametrize("lines", [1, 2, 4])
def test_stopping_and_resuming_changes_no_bit(lines: int, finished: Path, tmp_path: Path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(32 * lines, patch)
        assert not run(FULL, tmp_path, CPU)
    assert "images, and saved" in capsys.readouterr().out
    assert checkpoint_images(tmp_path)[-1] == 32 * lines
    assert run(FULL, tmp_path, CPU)
    assert same_run(tmp_path, finished)


def test_resuming_from_an_older_checkpoint_changes_no_bit(finished: Path, tmp_path: Path):
    """As after a power cut: the log is ahead of the last checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at(128, patch)
        run(FULL, tmp_path, CPU)
    newest_checkpoint(tmp_path).unlink()
    assert len(log_without_speed(tmp_path)) == 4
    assert run(FULL, tmp_path, CPU)
    assert same_run(tmp_path, finished)


def test_a_finished_run_has_all_its_files(finished: Path):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        *("recipe.json", "environment.json", "data.json", "log.jsonl", "checkpoints", "samples", "snapshots"),
        *("samples.png", "denoising.webp", "forward.png", "loss.png", "lock"),
    }
    assert [path.name for path in sorted((finished / "samples").iterdir())] == ["000000000080.png", "000000000160.png"]
    assert [line["images_seen"] for line in log_without_speed(finished)] == [32, 64, 96, 128, 160]
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__


def test_training_lowers_the_loss(finished: Path):
    losses = [line["loss"] for line in log_without_speed(finished)]
    assert losses[-1] < 0.9 * losses[0]


def test_ctrl_c_saves_and_prints_how_to_resume(tmp_path: Path):
    options = ["--run", str(tmp_path), "--batch-size", "8", "--every.log", "8"]
    command = [sys.executable, "-m", "limpid", "train", "demo", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "images/s" not in process.stdout.readline():
        assert process.poll() is None, "the run ended before it had logged anything"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "images, and saved" in rest
    assert rest.endswith(f"to resume: limpid train {tmp_path}\n")
    assert checkpoint.latest(tmp_path / "checkpoints") is not None


def test_the_record_of_a_failure_is_removed_when_training_is_resumed(tmp_path: Path):
    record = tmp_path / "failure.json"
    with pytest.raises(RuntimeError), failure_recorded(tmp_path):
        raise RuntimeError("two\nlines")
    assert json.loads(record.read_text())["error"] == "two lines"
    with failure_recorded(tmp_path):
        assert not record.exists()
    assert not record.exists()


def test_a_run_that_is_stopped_before_its_first_step_saves_and_releases_its_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(
        "limpid.training.run.init_state", lambda *args: (signal.raise_signal(signal.SIGTERM), init_state(*args))[1]
    )
    assert not run(TINY, tmp_path, CPU)
    assert (tmp_path / "lock").read_text() == ""
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
