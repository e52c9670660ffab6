"""Runs that torchrun starts: they stop, fail and resume together."""

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from distributed_runs import train
from killable import LIVES
from process_group import free_port, together
from run_results import checkpoint_images, same_run
from tiny_recipes import FULL

from limpid.recipes.serialize import to_dict

pytestmark = pytest.mark.usefixtures("no_final_figures")


SCRIPT = str(Path(__file__).with_name("torchrun_faults.py"))


class Torchrun:
    """torchrun with the command that trains FULL in a folder, forked from a process that has imported torch already."""

    def __init__(self, options: Sequence[str], fault: str, folder: Path, output: Path):
        recipe = folder.with_suffix(".json")
        recipe.write_text(json.dumps(to_dict(FULL)))
        words = [*options, "--", SCRIPT, fault, "train", str(recipe), "--run", str(folder)]
        words += ["--device", "cpu", "--precision", "float32"]
        self.process, self.output = LIVES.Process(target=torchrun, args=(words, output)), output
        self.process.start()

    def end(self) -> str:
        """Wait for its end, and return its output. After 100 seconds it is terminated, and the test fails."""
        self.process.join(100)
        if late := self.process.is_alive():
            self.process.terminate()
            self.process.join()
        assert not late, self.output.read_text()
        return self.output.read_text()


def torchrun(words: Sequence[str], output: Path) -> None:
    """The command `torchrun WORDS`, with its output in a file."""
    with output.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ["OMP_NUM_THREADS"] = "1"
    from torch.distributed import run as distributed_run

    distributed_run.main(words)


def test_torchrun_stops_saves_resumes_and_shows_which_process_failed(two_process_run: Path, tmp_path: Path):
    folder, options = tmp_path / "run", ["--standalone", "--nproc-per-node", "2"]
    first = Torchrun(options, "slow", folder, tmp_path / "first.txt")
    while not first.output.exists() or "images/s" not in first.output.read_text():
        assert first.process.is_alive(), "it ended before it had logged anything"
        time.sleep(0.05)
    assert first.process.pid is not None
    os.kill(first.process.pid, signal.SIGTERM)
    assert "images, and saved" in first.end()
    assert 32 <= checkpoint_images(folder)[-1] < 112

    second = Torchrun(options, "raise", folder, tmp_path / "second.txt")
    output = second.end()
    assert second.process.exitcode == 1
    assert "resuming after " in output
    assert "RuntimeError: the fan of the last machine has stopped" in output.partition("Root Cause")[2]
    assert together(2, tmp_path, train, FULL, folder).codes == [0, 0]
    assert same_run(two_process_run, folder)


def test_a_node_that_fails_ends_the_others_and_all_resume_together(two_process_run: Path, tmp_path: Path):
    """Two agents of torchrun with a process each connect on loopback, as two machines would.

    The second agent is the host of the rendezvous, so that with the last process the rendezvous has ended too, and the
    first agent gets a signal to end.
    """
    folder = tmp_path / "run"
    nodes = ["--nnodes", "2", "--nproc-per-node", "1", "--local-addr", "127.0.0.1", "--rdzv-backend", "c10d"]
    for fault, codes in (("kill", [1, 1]), ("none", [0, 0])):
        rendezvous = ["--rdzv-id", fault, "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-conf"]
        agents = [
            Torchrun([*nodes, *rendezvous, f"is_host={host}"], fault, folder, tmp_path / f"{fault}-{host}.txt")
            for host in (0, 1)
        ]
        outputs = [agent.end() for agent in agents]
        assert [agent.process.exitcode for agent in agents] == codes, outputs
        if fault == "kill":
            output = "".join(outputs)
            assert "Signal 9 (SIGKILL)" in output
            assert "limpid: process 0 of 2 has lost the others: " in output
    assert same_run(two_process_run, folder)
