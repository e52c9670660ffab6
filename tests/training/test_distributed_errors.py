"""Mistakes of the user, refusals and signals, where several processes run."""

import signal
import time
from pathlib import Path

import pytest
from distributed_runs import run_command
from process_group import set_rank, together

from limpid.cli.main import main
from limpid.runtime import distributed
from limpid.storage.lock import exclusive

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_a_folder_in_use_is_refused_in_all_processes(tmp_path: Path):
    with exclusive(tmp_path / "run"):
        ended = together(2, tmp_path, run_command, "train", "demo", "--run", str(tmp_path / "run"), "--device", "cpu")
    assert ended.codes[0] == 2
    assert ended.codes[1] == 1
    assert ended.output[0].count("\n") == 1
    assert "run is in use by " in ended.output[0]


def test_a_users_mistake_is_reported_once(tmp_path: Path):
    ended = together(2, tmp_path, run_command, "train", "demo", "--batch-siz", "3")
    assert ended.codes == [2, 2]
    assert "--batch-size" in ended.output[0]
    assert ended.output[1] == ""


@pytest.mark.parametrize(("error", "may_end"), [(ValueError, True), (FloatingPointError, False)])
def test_torchrun_may_end_a_process_that_would_repeat_the_mistake_of_all(
    error: type[Exception], may_end: bool, monkeypatch: pytest.MonkeyPatch
):
    before, handlers = signal.getsignal(signal.SIGTERM), []
    set_rank(1, 2, monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda _: handlers.append(signal.getsignal(signal.SIGTERM)))
    try:
        with pytest.raises(error), distributed.distributed_session():
            raise error("a mistake")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handlers == [before if may_end else signal.SIG_IGN]


def test_a_command_for_one_process_is_refused_to_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    set_rank(0, 2, monkeypatch)
    assert main(["recipes"]) == 2
    assert capsys.readouterr().err == (
        "limpid: this command runs in one process, not in 2: start it without torchrun\n"
    )


def test_one_gpu_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch):
    set_rank(1, 2, monkeypatch)
    assert distributed.device_of("cpu") == "cpu"
    assert distributed.device_of("cuda") == "cuda:1"
    with pytest.raises(ValueError, match="--device cuda:0 for each of 2 processes: expected cpu, or cuda, a GPU for"):
        distributed.device_of("cuda:0")


def test_a_second_signal_interrupts_none_of_several_processes(monkeypatch: pytest.MonkeyPatch):
    from limpid.training.stop import stoppable

    set_rank(0, 2, monkeypatch)
    with stoppable() as stop:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert stop.requested
