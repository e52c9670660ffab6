"""Many processes come to what one comes to: losses, weights, images and scores; and where one fails, all end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from killable import LIVES
from process_group import environment, free_port, together
from test_faults import at
from test_nonfinite import bad_at, small_memory
from test_run import log, weights
from tiny_recipes import CPU, FULL

from limpid.cli.main import main
from limpid.evaluation import evaluate
from limpid.optim.optimizers import AdamW, Muon
from limpid.recipes.recipe import Every, Recipe
from limpid.recipes.serialize import to_dict
from limpid.runtime import distributed, grad_sync
from limpid.runtime.fsdp import find_desynced
from limpid.runtime.grad_sync import GradientSync, group_by_size
from limpid.storage import checkpoint
from limpid.storage.lock import exclusive
from limpid.training.loss_log import LossLog
from limpid.training.run import run
from limpid.training.state import init_state

Patch = pytest.MonkeyPatch
pytestmark = pytest.mark.usefixtures("no_final_figures")

# As FULL, but without dropout, whose masks are other ones in another share; and a batch that no number here divides.
ODD: Recipe = replace(
    FULL,
    duration=180,
    batch_size=15,
    network=replace(FULL.network, dropout=0.0),
    every=Every(log=45, sample=180, save=90, snapshot=90),
)


def same(one: Path, other: Path) -> bool:
    """Whether two runs have ended with the same bits, and the same log but for the clock."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a) and log(one) == log(other)


def assert_near(one: Path, other: Path) -> None:
    """Two runs differ by no more than the order of sums makes them."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for part in ("model.", "ema.", "power0.", "power1.", "loss.", "uncertainty."):
        x, y = (torch.cat([w[name].flatten() for name in w if name.startswith(part)]) for w in (a, b))
        assert (x - y).norm() < 2e-3 * x.norm(), part
    lines, others = log(one), log(other)
    assert [line["images_seen"] for line in lines] == [line["images_seen"] for line in others]
    for name in ("loss", "grad_norm"):
        assert [line[name] for line in others] == pytest.approx([line[name] for line in lines], rel=2e-3)


@pytest.fixture(scope="module")
def alone_of_odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("odd") / "run"
    assert run(ODD, folder, CPU)
    return folder


# Losses and weights


def trains(recipe: Recipe, folder: Path, bucket: int = grad_sync.BUCKET_SIZE) -> None:
    grad_sync.BUCKET_SIZE = bucket
    assert run(recipe, folder, CPU)


@pytest.mark.parametrize(("count", "bucket"), [(2, 5000), (4, grad_sync.BUCKET_SIZE)])
def test_any_number_of_processes_learns_what_one_learns(count: int, bucket: int, alone_of_odd: Path, tmp_path: Path):
    folder = tmp_path / "run"
    ended = together(count, tmp_path, trains, ODD, folder, bucket, final_figures=True)
    assert ended.codes == [0] * count, ended.output
    assert_near(alone_of_odd, folder)
    names = [sorted(path.relative_to(run) for path in run.rglob("*")) for run in (alone_of_odd, folder)]
    assert names[0] == names[1]
    assert f"{count} processes, each on cpu" in ended.output[0]
    assert ended.output[1:] == [""] * (count - 1)


def trains_until_one_is_told_to_stop(recipe: Recipe, folder: Path, seen: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if distributed.rank() == distributed.world_size() - 1:
            at(seen, lambda: signal.raise_signal(signal.SIGTERM), patch)
        assert not run(recipe, folder, CPU)


def test_a_run_stopped_on_four_processes_goes_on_on_two_and_on_one(alone_of_odd: Path, tmp_path: Path):
    folder = tmp_path / "run"
    for count, seen in ((4, 45), (2, 135)):
        ended = together(count, tmp_path, trains_until_one_is_told_to_stop, ODD, folder, seen)
        assert ended.codes == [0] * count, ended.output
        assert f"stopped after {seen} images, and saved" in ended.output[0]
        assert int(checkpoint.list_checkpoints(folder / "checkpoints")[-1].stem) == seen
    assert run(ODD, folder, CPU)
    assert_near(alone_of_odd, folder)


def test_the_same_number_of_processes_goes_on_to_the_same_bits(tmp_path: Path):
    """Also with three processes, where the order of sums matters, and with dropout."""
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for act, folder in ((trains, straight), (trains_until_one_is_told_to_stop, stopped), (trains, stopped)):
        given = [64] if act is trains_until_one_is_told_to_stop else []
        assert together(3, tmp_path, act, FULL, folder, *given).codes == [0] * 3
    assert same(straight, stopped)


def records(folder: Path) -> None:
    """Train, and record the fraction of all gradients that was complete when each sum began."""
    begun, send = [], GradientSync._send

    def noting(self: GradientSync, all_of_them: bool = False) -> None:
        before = len(self.sent)
        send(self, all_of_them)
        begun.extend([len(self.arrived) / len(self.weights)] * (len(self.sent) - before))

    grad_sync.BUCKET_SIZE = 50_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GradientSync, "_send", noting)
        run(replace(ODD, duration=45, every=Every(log=45, sample=0, save=0, snapshot=0)), folder, CPU)
    (folder / f"begun-{distributed.rank()}.json").write_text(json.dumps(begun))


def test_sums_are_under_way_while_gradients_are_computed_once_a_step_has_come_through(tmp_path: Path):
    folder = tmp_path / "run"
    assert together(2, tmp_path, records, folder).codes == [0, 0]
    for rank in (0, 1):
        begun = json.loads((folder / f"begun-{rank}.json").read_text())
        buckets = len(begun) // 3
        assert buckets > 3
        assert begun[:buckets] == [1.0] * buckets
        assert begun[buckets : 2 * buckets] == begun[2 * buckets :] == sorted(begun[buckets : 2 * buckets])
        assert begun[buckets] < 0.5
        assert begun[-1] == 1.0


def test_shares_are_a_batch_in_order(monkeypatch: Patch):
    for count in (1, 2, 3, 7):
        for batch in range(count, 30):
            shares = []
            for rank in range(count):
                for name, value in environment(rank, count, 0).items():
                    monkeypatch.setenv(name, value)
                share = distributed.local_slice(batch)
                shares.append(list(range(batch))[share])
            assert [place for share in shares for place in share] == list(range(batch))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
    with pytest.raises(ValueError, match="batch 6 for 7 processes: expected at least one image for each"):
        distributed.local_slice(6)


def test_groups_are_all_weights_in_order_and_none_too_large(monkeypatch: Patch):
    monkeypatch.setattr(grad_sync, "BUCKET_SIZE", 10)
    groups = list(group_by_size([torch.empty(n) for n in (4, 5, 2, 20, 1, 9)]))
    assert [[len(weight) for weight in group] for group in groups] == [[4, 5], [2], [20], [1, 9]]


# What goes wrong, on one of them


def trains_where_one_has_little_memory(recipe: Recipe, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if distributed.rank() == 1:
            small_memory(3, patch)
        assert run(recipe, folder, CPU)


def test_a_process_that_runs_out_of_memory_halves_its_share_alone(alone_of_odd: Path, tmp_path: Path):
    folder = tmp_path / "run"
    ended = together(2, tmp_path, trains_where_one_has_little_memory, ODD, folder)
    assert ended.codes == [0, 0], ended.output
    assert ended.output[1].splitlines() == [
        f"limpid, process 1: out of memory: from now on {n} images at a time, of the same batch" for n in (4, 2)
    ]
    assert_near(alone_of_odd, folder)


def runs_out_later(recipe: Recipe, folder: Path) -> None:
    """The memory of one process runs out as its second step comes to its last weight."""
    grad_sync.BUCKET_SIZE = 5000
    with pytest.MonkeyPatch.context() as patch:
        if distributed.rank() == 1:
            expect = GradientSync.begin_micro_batch

            def expecting(self: GradientSync, size: int, last: bool) -> None:
                expect(self, size, last)
                if self.proven:
                    self.buckets[-1].weights[-1].register_post_accumulate_grad_hook(fail)

            patch.setattr(GradientSync, "begin_micro_batch", expecting)
        run(recipe, folder, CPU)


def fail(_: torch.Tensor) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_memory_that_runs_out_when_sums_are_under_way_ends_the_run_with_advice(tmp_path: Path):
    ended = together(2, tmp_path, runs_out_later, ODD, tmp_path / "run")
    assert ended.codes == [1, 1]
    assert (
        "MemoryError: out of memory after gradients were sent to other processes: resume with --micro-batch 4"
        in ended.output[1]
    )


def trains_with_bad_numbers(recipe: Recipe, folder: Path) -> None:
    """The third image of a batch is one of the first process, alone."""
    with pytest.MonkeyPatch.context() as patch:
        bad_at({45}, patch)
        assert run(recipe, folder, CPU)


def test_numbers_that_go_wrong_on_one_process_take_all_back(tmp_path: Path):
    folder = tmp_path / "run"
    ended = together(2, tmp_path, trains_with_bad_numbers, ODD, folder)
    assert ended.codes == [0, 0], ended.output
    file = checkpoint.latest(folder / "checkpoints")
    assert file is not None
    assert checkpoint.read_data(file)["skipped_batches"] == [45]
    assert ended.output[0].count("1 of 15 losses not finite") == 1
    assert ended.output[1] == ""


def trains_with_other_weights(recipe: Recipe, folder: Path) -> None:
    """One process changes a bit of its average after the first line of the log."""
    tell = LossLog.write_line

    def telling(self: LossLog, step) -> None:
        if distributed.rank() == 1:
            with torch.no_grad():
                next(iter(self.run.state.ema.parameters())).view(-1)[0] += 1e-6
        return tell(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LossLog, "write_line", telling)
        run(recipe, folder, CPU)


def test_processes_that_no_longer_hold_the_same_are_found_out_before_they_are_saved(tmp_path: Path):
    ended = together(2, tmp_path, trains_with_other_weights, ODD, tmp_path / "run")
    assert ended.codes == [1, 1]
    assert "the processes no longer hold the same ema.enter.weight: are their machines alike?" in ended.output[0]
    assert [int(file.stem) for file in checkpoint.list_checkpoints(tmp_path / "run" / "checkpoints")] == [0]


def test_one_process_is_equal_to_itself():
    assert find_desynced({"a": torch.ones(3)}) == []


def dies(how: Callable[[], object], recipe: Recipe, folder: Path) -> None:
    """The last process ends in the midst of the run, the others go on."""
    note = LossLog.record

    def noting(self: LossLog, step) -> None:
        if distributed.rank() == distributed.world_size() - 1 and step.data_position == 96:
            how()
        note(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LossLog, "record", noting)
        run(recipe, folder, CPU)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_ends_all_and_the_run_goes_on_to_the_same_bits(straight: Path, tmp_path: Path):
    broken = tmp_path / "broken"
    ended = together(2, tmp_path, dies, killed, FULL, broken)
    assert ended.codes == [1, -signal.SIGKILL]
    assert ended.seconds < 30
    assert "PeerLostError: process 0 of 2 has lost the others: " in ended.output[0]
    assert together(2, tmp_path, trains, FULL, broken).codes == [0, 0]
    assert same(straight, broken)


def commanded(*words: str) -> None:
    sys.exit(main(words))


def test_a_folder_in_use_is_refused_to_all(tmp_path: Path):
    with exclusive(tmp_path / "run"):
        ended = together(2, tmp_path, commanded, "train", "demo", "--run", str(tmp_path / "run"), "--device", "cpu")
    assert ended.codes[0] == 2
    assert ended.codes[1] == 1
    assert ended.output[0].count("\n") == 1
    assert "run is in use by " in ended.output[0]


def test_a_users_mistake_is_reported_once(tmp_path: Path):
    ended = together(2, tmp_path, commanded, "train", "demo", "--batch-siz", "3")
    assert ended.codes == [2, 2]
    assert "--batch-size" in ended.output[0]
    assert ended.output[1] == ""


@pytest.mark.parametrize(("error", "ends"), [(ValueError, True), (FloatingPointError, False)])
def test_torchrun_ends_a_process_with_the_mistake_of_all_before_it_repeats_it(
    error: type[Exception], ends: bool, monkeypatch: Patch
):
    before, while_waiting = signal.getsignal(signal.SIGTERM), []
    for name, value in environment(1, 2, 0).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(time, "sleep", lambda _: while_waiting.append(signal.getsignal(signal.SIGTERM)))
    try:
        with pytest.raises(error), distributed.distributed_session():
            raise error("a mistake")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert while_waiting == [before if ends else signal.SIG_IGN]


def test_what_one_process_does_is_refused_to_many(monkeypatch: Patch, capsys: pytest.CaptureFixture[str]):
    for name, value in environment(0, 2, 0).items():
        monkeypatch.setenv(name, value)
    assert main(["recipes"]) == 2
    assert capsys.readouterr().err == (
        "limpid: this command runs in one process, not in 2: start it without torchrun\n"
    )


def test_a_device_for_one_is_refused_to_many(monkeypatch: Patch):
    for name, value in environment(1, 2, 0).items():
        monkeypatch.setenv(name, value)
    assert distributed.device_of("cpu") == "cpu"
    assert distributed.device_of("cuda") == "cuda:1"
    with pytest.raises(ValueError, match="--device cuda:0 for each of 2 processes: expected cpu, or cuda, a GPU for"):
        distributed.device_of("cuda:0")


def test_a_second_wish_to_stop_interrupts_none_of_many(monkeypatch: Patch):
    from limpid.training.stop import stoppable

    for name, value in environment(0, 2, 0).items():
        monkeypatch.setenv(name, value)
    with stoppable() as stop:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert stop.requested


# Words between them


def converse(folder: Path) -> None:
    distributed.init("cpu")
    rank = distributed.rank()
    assert distributed.broadcast_object(lambda: f"from {rank}") == "from 0"
    assert [distributed.any_rank(rank == 2), distributed.any_rank(False)] == [True, False]
    tensors = {"half": torch.arange(3).half(), "last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)}
    tensors |= {"none": torch.zeros(0, 2), "one": torch.tensor(2.5), "yes": torch.tensor([True, False])}
    given = distributed.broadcast_tensors(lambda: tensors)
    distributed.parallel_map(str, [1])
    torch.save(given, folder / f"given-{rank}.pt")
    if rank == 0:
        torch.save(tensors, folder / "tensors.pt")
    assert list(distributed.parallel_map(lambda i: (i, rank), range(7))) == [(i, i % 3) for i in range(7)]
    begun = folder / "begun"
    assert distributed.local_main_first(lambda: begun.exists() or begun.touch()) is (None if rank == 0 else True)


def test_words_and_tensors_reach_all(tmp_path: Path):
    ended = together(3, tmp_path, converse, tmp_path)
    assert ended.codes == [0, 0, 0], ended.output
    tensors = torch.load(tmp_path / "tensors.pt")
    for rank in range(3):
        given = torch.load(tmp_path / f"given-{rank}.pt")
        assert given.keys() == tensors.keys()
        assert all(
            torch.equal(given[name], value) and given[name].dtype == value.dtype for name, value in tensors.items()
        )


# Images and scores


def test_many_draw_the_images_of_one(alone_of_odd: Path, tmp_path: Path):
    words = ["sample", str(alone_of_odd), "--n", "23", "--batch-size", "4", "--npz", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "one"), "--precision", "float32"]) == 0
    ended = together(3, tmp_path, commanded, *words, "--out", str(tmp_path / "three"), "--precision", "float32")
    assert ended.codes == [0, 0, 0], ended.output
    one, three = (np.load(tmp_path / name / "samples.npz") for name in ("one", "three"))
    for name in ("images", "labels", "seeds"):
        assert np.array_equal(one[name], three[name])
    assert (tmp_path / "one" / "grid.png").read_bytes() == (tmp_path / "three" / "grid.png").read_bytes()
    assert ended.output[1:] == ["", ""]


def assesses(cache: str, *words: str) -> None:
    os.environ["LIMPID_DATA"] = cache
    evaluate.CHUNK = 20
    sys.exit(main(["evaluate", *words]))


def test_many_score_what_one_scores(alone_of_odd: Path, tmp_path: Path):
    found = []
    for count in (1, 2):
        out = tmp_path / f"scores-{count}.json"
        words = [str(alone_of_odd), "--n", "50", "--device", "cpu", "--precision", "float32", "--batch-size", "10"]
        # Each has a cache of its own, and draws under another name of the same folder, so that nothing is read again.
        other = tmp_path / f"run-{count}"
        other.symlink_to(alone_of_odd)
        ended = together(count, tmp_path, assesses, str(tmp_path / f"cache-{count}"), *words, "--out", str(out))
        assert ended.codes == [0] * count, ended.output
        found.append(json.loads(out.read_text())["reports"][-1])
        for kept in (alone_of_odd / "evaluations").rglob("*.safetensors"):
            kept.unlink()
    one, two = found
    assert one["scores"] == two["scores"]
    assert one["provenance"] == two["provenance"]
    assert ended.output[0].count("FD-CIFAR") == 1
    assert ended.output[1] == ""


# Weights in parts


# As ODD with fewer weights, since each weight that is sharded is gathered on its own.
EVEN = replace(
    ODD,
    duration=96,
    batch_size=12,
    network=replace(ODD.network, channel_mult=(1,), attn_resolutions=(8,)),
    optimizer=AdamW(lr=1.5e-3),
    every=Every(log=24, sample=48, save=48, snapshot=48, score=0),
)


def trains_sharded(recipe: Recipe, folder: Path, stop_at: int = 0) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if stop_at:
            at(stop_at, lambda: signal.raise_signal(signal.SIGTERM), patch)
        assert run(recipe, folder, replace(CPU, fsdp=True).resolve()) is (stop_at == 0)


def test_sharded_weights_learn_the_same_and_go_on_on_any_number_of_processes(tmp_path: Path):
    straight, sharded = tmp_path / "straight", tmp_path / "sharded"
    assert run(EVEN, straight, CPU)
    ended = together(2, tmp_path, trains_sharded, EVEN, sharded, 48)
    assert ended.codes == [0, 0], ended.output
    ended = together(3, tmp_path, trains_sharded, EVEN, sharded)
    assert ended.codes == [0, 0, 0], ended.output
    assert_near(straight, sharded)
    longer = replace(EVEN, duration=120)
    assert run(longer, straight, CPU, allow_rewarm=True)
    assert run(longer, sharded, CPU, allow_rewarm=True)
    assert_near(straight, sharded)


@pytest.mark.parametrize(
    ("recipe", "output"),
    [
        (ODD, "--fsdp with batch 15: expected a multiple of 2, the processes"),
        (replace(EVEN, optimizer=Muon()), "--fsdp with Muon, which needs complete weight matrices: expected AdamW"),
    ],
)
def test_recipes_that_cannot_be_sharded_are_refused(recipe: Recipe, output: str, monkeypatch: Patch):
    for name, value in environment(0, 2, 0).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=output):
        init_state(recipe, (1, 8, 8), 10, replace(CPU, fsdp=True))


def test_one_process_has_nothing_to_shard():
    with pytest.raises(ValueError, match="--fsdp with one process: expected several, started by torchrun"):
        replace(CPU, fsdp=True).resolve()


# torchrun itself

RANKS = str(Path(__file__).with_name("torchrun_faults.py"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing happened to."""
    folder = tmp_path_factory.mktemp("straight")
    assert together(2, folder, trains, FULL, folder / "run").codes == [0, 0]
    return folder / "run"


class Torchrun:
    """torchrun with the command that trains in a folder, forked from a process that has imported torch already."""

    def __init__(self, options: Sequence[str], fault: str, folder: Path, output: Path):
        recipe = folder.with_suffix(".json")
        recipe.write_text(json.dumps(to_dict(FULL)))
        words = [*options, "--", RANKS, fault, "train", str(recipe), "--run", str(folder)]
        words += ["--device", "cpu", "--precision", "float32"]
        self.process, self.output = LIVES.Process(target=torchrun, args=(words, output)), output
        self.process.start()

    def end(self) -> str:
        """Its output on both streams; neither the process nor its children may outlive the test."""
        self.process.join(100)
        if late := self.process.is_alive():
            self.process.terminate()
            self.process.join()
        assert not late, self.output.read_text()
        return self.output.read_text()


def torchrun(words: Sequence[str], output: Path) -> None:
    """As `torchrun WORDS`, which is this function."""
    with output.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ["OMP_NUM_THREADS"] = "1"
    from torch.distributed import run as distributed_run

    distributed_run.main(words)


def test_torchrun_stops_saves_and_goes_on_and_shows_whose_error_it_was(straight: Path, tmp_path: Path):
    folder, here = tmp_path / "run", ["--standalone", "--nproc-per-node", "2"]
    first = Torchrun(here, "slow", folder, tmp_path / "first.txt")
    while not first.output.exists() or "images/s" not in first.output.read_text():
        assert first.process.is_alive(), "it ended before it had logged anything"
        time.sleep(0.05)
    assert first.process.pid is not None
    os.kill(first.process.pid, signal.SIGTERM)
    assert "images, and saved" in first.end()
    assert 32 <= int(checkpoint.list_checkpoints(folder / "checkpoints")[-1].stem) < 112

    begun = time.monotonic()
    second = Torchrun(here, "raise", folder, tmp_path / "second.txt")
    output = second.end()
    assert time.monotonic() - begun < 30
    assert second.process.exitcode == 1
    assert "resuming after " in output
    assert "RuntimeError: the fan of the last machine has stopped" in output.partition("Root Cause")[2]
    assert together(2, tmp_path, trains, FULL, folder).codes == [0, 0]
    assert same(straight, folder)


def test_a_node_that_fails_ends_the_others_and_they_go_on_together(straight: Path, tmp_path: Path):
    """Two agents of torchrun that meet on loopback, as on two machines, with a process each.

    The second is the host, so that with the last process the meeting place is gone too, and the first receives a signal
    to end.
    """
    folder = tmp_path / "run"
    nodes = ["--nnodes", "2", "--nproc-per-node", "1", "--local-addr", "127.0.0.1", "--rdzv-backend", "c10d"]
    for fault, codes in (("kill", [1, 1]), ("none", [0, 0])):
        meeting = ["--rdzv-id", fault, "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-conf"]
        agents = [
            Torchrun([*nodes, *meeting, f"is_host={host}"], fault, folder, tmp_path / f"{fault}-{host}.txt")
            for host in (0, 1)
        ]
        outputs = [agent.end() for agent in agents]
        assert [agent.process.exitcode for agent in agents] == codes, outputs
        if fault == "kill":
            output = "".join(outputs)
            assert "Signal 9 (SIGKILL)" in output
            assert "limpid: process 0 of 2 has lost the others: " in output
    assert same(straight, folder)


def test_scaling_is_measured_and_written_down(tmp_path: Path):
    script = Path(__file__).parents[2] / "benchmarks" / "scaling.py"
    words = [str(script), "--quick", "--device", "cpu", "--out", str(tmp_path / "scaling")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    teams = json.loads((tmp_path / "scaling.json").read_text())["teams"]
    names = ["1 process", "2 processes", "2 processes, DistributedDataParallel"]
    assert [team["name"] for team in teams] == names
    assert all(len(team["turns"]) == 2 for team in teams)
    assert "batch 4, 2 processes: " in done.stdout
