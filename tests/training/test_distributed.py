"""Several processes compute what one computes: losses, weights, samples and scores."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distributed_runs import UNEVEN, assert_runs_close, run_command, train, train_until_one_is_stopped
from process_group import together
from run_results import checkpoint_images, same_run
from tiny_recipes import CPU, FULL

from limpid.cli.main import main
from limpid.evaluation import evaluate
from limpid.recipes.recipe import Every
from limpid.runtime import distributed, grad_sync
from limpid.runtime.grad_sync import GradientSync
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


@pytest.mark.parametrize(("count", "bucket_size"), [(2, 5000), (4, grad_sync.BUCKET_SIZE)])
def test_any_number_of_processes_trains_the_weights_of_one(
    count: int, bucket_size: int, one_process_run: Path, tmp_path: Path
):
    folder = tmp_path / "run"
    ended = together(count, tmp_path, train, UNEVEN, folder, bucket_size, final_figures=True)
    assert ended.codes == [0] * count, ended.output
    assert_runs_close(one_process_run, folder)
    names = [sorted(path.relative_to(run) for path in run.rglob("*")) for run in (one_process_run, folder)]
    assert names[0] == names[1]
    assert f"{count} processes, each on cpu" in ended.output[0]
    assert ended.output[1:] == [""] * (count - 1)


def test_a_run_stopped_on_four_processes_is_resumed_on_two_and_on_one(one_process_run: Path, tmp_path: Path):
    folder = tmp_path / "run"
    for count, images_seen in ((4, 45), (2, 135)):
        ended = together(count, tmp_path, train_until_one_is_stopped, UNEVEN, folder, images_seen)
        assert ended.codes == [0] * count, ended.output
        assert f"stopped after {images_seen} images, and saved" in ended.output[0]
        assert checkpoint_images(folder)[-1] == images_seen
    assert run(UNEVEN, folder, CPU)
    assert_runs_close(one_process_run, folder)


def test_resuming_on_the_same_number_of_processes_changes_no_bit(tmp_path: Path):
    """With three processes, where the order of sums matters, and with dropout."""
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for act, folder in ((train, straight), (train_until_one_is_stopped, stopped), (train, stopped)):
        stop = [64] if act is train_until_one_is_stopped else []
        assert together(3, tmp_path, act, FULL, folder, *stop).codes == [0] * 3
    assert same_run(straight, stopped)


def train_and_record_sums(folder: Path) -> None:
    """Train, and write the fraction of all gradients that was complete when the sum of each bucket began."""
    fractions, send = [], GradientSync._send

    def send_and_record(self: GradientSync, all_of_them: bool = False) -> None:
        before = len(self.sent)
        send(self, all_of_them)
        fractions.extend([len(self.arrived) / len(self.weights)] * (len(self.sent) - before))

    grad_sync.BUCKET_SIZE = 50_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GradientSync, "_send", send_and_record)
        run(replace(UNEVEN, duration=45, every=Every(log=45, sample=0, save=0, snapshot=0)), folder, CPU)
    (folder / f"fractions-{distributed.rank()}.json").write_text(json.dumps(fractions))


def test_from_the_second_step_on_gradients_are_summed_during_the_backward_pass(tmp_path: Path):
    folder = tmp_path / "run"
    assert together(2, tmp_path, train_and_record_sums, folder).codes == [0, 0]
    for rank in (0, 1):
        fractions = json.loads((folder / f"fractions-{rank}.json").read_text())
        buckets = len(fractions) // 3
        first, second, third = (fractions[step * buckets : (step + 1) * buckets] for step in range(3))
        assert buckets > 3
        assert first == [1.0] * buckets
        assert second == third == sorted(second)
        assert second[0] < 0.5
        assert third[-1] == 1.0


def test_several_processes_generate_the_samples_of_one(one_process_run: Path, tmp_path: Path):
    words = ["sample", str(one_process_run), "--n", "23", "--batch-size", "4", "--npz", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "one"), "--precision", "float32"]) == 0
    ended = together(3, tmp_path, run_command, *words, "--out", str(tmp_path / "three"), "--precision", "float32")
    assert ended.codes == [0, 0, 0], ended.output
    one, three = (np.load(tmp_path / name / "samples.npz") for name in ("one", "three"))
    for name in ("images", "labels", "seeds"):
        assert np.array_equal(one[name], three[name])
    assert (tmp_path / "one" / "grid.png").read_bytes() == (tmp_path / "three" / "grid.png").read_bytes()
    assert ended.output[1:] == ["", ""]


def evaluate_with_cache(cache: str, *words: str) -> None:
    """`limpid evaluate WORDS` in chunks of 20 images, with its cache in this folder."""
    os.environ["LIMPID_DATA"] = cache
    evaluate.CHUNK = 20
    sys.exit(main(["evaluate", *words]))


def test_several_processes_compute_the_scores_of_one(one_process_run: Path, tmp_path: Path):
    reports = []
    for count in (1, 2):
        out = tmp_path / f"scores-{count}.json"
        words = [str(one_process_run), "--n", "50", "--device", "cpu", "--precision", "float32", "--batch-size", "10"]
        # Each count has its own cache, and its samples are deleted afterwards, so that nothing is read from a cache.
        ended = together(
            count, tmp_path, evaluate_with_cache, str(tmp_path / f"cache-{count}"), *words, "--out", str(out)
        )
        assert ended.codes == [0] * count, ended.output
        reports.append(json.loads(out.read_text())["reports"][-1])
        for samples in (one_process_run / "evaluations").rglob("*.safetensors"):
            samples.unlink()
    one, two = reports
    assert one["scores"] == two["scores"]
    assert one["provenance"] == two["provenance"]
    assert ended.output[0].count("FD-CIFAR") == 1
    assert ended.output[1] == ""
