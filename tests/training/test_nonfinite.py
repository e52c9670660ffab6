"""Non-finite losses are detected and reported, and the run is rolled back; memory that runs out halves
micro-batches."""

import errno
import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killable import LIVES
from tiny_recipes import CPU, TINY
from torch.testing import assert_close

from limpid.diffusion.denoiser import Timestep
from limpid.diffusion.level_sampling import LossSecondMoment
from limpid.diffusion.schedules import Cosine, Karras, sampling_levels
from limpid.diffusion.targets import Eps, V
from limpid.recipes.recipe import Every, Recipe, build_denoiser
from limpid.runtime.device import TrainingRuntime
from limpid.runtime.oom import find_executable_batch_size
from limpid.sampling import figures
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.sample import check_starts_solvable
from limpid.sampling.samples import Samples
from limpid.storage import checkpoint, jsonl
from limpid.training import accumulate
from limpid.training import loop as training
from limpid.training.accumulate import NoisyBatch
from limpid.training.anomalies import NonFiniteMonitor, degenerate_samples, loss_spike
from limpid.training.loop import StepMetrics, training_loop
from limpid.training.loss_log import LossLog
from limpid.training.meter import LossMeter, Means
from limpid.training.run import run
from limpid.training.state import TrainState, init_state, state_dict

pytestmark = pytest.mark.usefixtures("no_final_figures")
SHORT = replace(
    TINY,
    duration=128,
    sampling=replace(TINY.sampling, steps=2),
    optimizer=replace(TINY.optimizer, warmup_images=0),
    every=Every(log=64, sample=0, save=32, snapshot=0),
)


def end(folder: Path) -> tuple[dict[str, torch.Tensor], checkpoint.Plain]:
    """The last checkpoint."""
    file = checkpoint.latest(folder / "checkpoints")
    assert file is not None
    return checkpoint.read_tensors(file), checkpoint.read_data(file)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def bad_at(places: set[int], patch: pytest.MonkeyPatch) -> None:
    """Put a NaN into the batches that begin at these positions."""
    prepared = training.make_noisy_batch

    def spoilt(state: TrainState, *args) -> NoisyBatch:
        noisy = prepared(state, *args)
        if state.data_position in places:
            noisy.x0[2, 0, 0, 0] = math.nan
        return noisy

    patch.setattr(training, "make_noisy_batch", spoilt)


def pipeline(recipe: Recipe, *left_out: int) -> dict[str, torch.Tensor]:
    """The tensors after a run that skips these batches from the beginning."""
    source = recipe.data.open("cpu")
    state = init_state(recipe, source.shape, len(source.class_names), CPU)
    state.skipped_batches = left_out
    for _ in training_loop(state, recipe, source, CPU):
        pass
    assert state.data_position == recipe.duration + recipe.batch_size * len(left_out)
    return state_dict(state)


@pytest.mark.parametrize("places", [{48}, {0}, {64, 80}])
def test_a_run_goes_back_and_leaves_out_the_batch_where_numbers_went_wrong(
    places: set[int], tmp_path, monkeypatch, capsys
):
    bad_at(places, monkeypatch)
    assert run(SHORT, tmp_path, CPU)
    tensors, data = end(tmp_path)
    assert set(data["skipped_batches"]) == places
    output = capsys.readouterr().err.splitlines()
    assert len(output) == len(places)
    assert all(
        "1 of 16 losses not finite, at log-SNR " in line and ", gradient norm nan: back to " in line for line in output
    )
    tensors.pop("meter")
    assert same(tensors, pipeline(SHORT, *places))
    assert [line["images_seen"] for line in jsonl.read_jsonl(tmp_path / "log.jsonl")] == [64, 128]
    assert all(math.isfinite(line["loss"]) for line in jsonl.read_jsonl(tmp_path / "log.jsonl"))


def test_skipped_batches_stay_skipped_when_a_run_is_stopped(tmp_path: Path, monkeypatch):
    bad_at({48}, monkeypatch)
    assert run(SHORT, tmp_path / "straight", CPU)
    with monkeypatch.context() as patch:
        stop_at(64, patch)
        assert not run(SHORT, tmp_path / "stopped", CPU)
    assert run(SHORT, tmp_path / "stopped", CPU)
    (one, about), (other, about_other) = end(tmp_path / "straight"), end(tmp_path / "stopped")
    assert same(one, other)
    assert about == about_other


def stop_at(seen: int, patch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C at the line of the log after so many images."""
    tell = LossLog.write_line

    def telling(self: LossLog, step: StepMetrics) -> None:
        if step.images_seen == seen:
            signal.raise_signal(signal.SIGINT)
        return tell(self, step)

    patch.setattr(LossLog, "write_line", telling)


def test_a_run_asked_to_stop_at_a_non_finite_loss_rolls_back_and_stops(tmp_path: Path, monkeypatch):
    bad_at({48}, monkeypatch)
    note = LossLog.record

    def noting(self: LossLog, step: StepMetrics) -> None:
        note(self, step)
        if step.data_position == 48:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(LossLog, "record", noting)
    assert not run(SHORT, tmp_path, CPU)
    tensors, data = end(tmp_path)
    assert (data["images_seen"], data["skipped_batches"]) == (48, [48])
    assert all(value.isfinite().all() for value in tensors.values())


def test_a_run_whose_numbers_go_wrong_on_every_batch_is_given_up_with_a_report(tmp_path: Path, capsys):
    hopeless = replace(SHORT, optimizer=replace(SHORT.optimizer, lr=1e30, max_grad_norm=1e30))
    with pytest.raises(
        FloatingPointError, match=r"although 3 batches after 0 images were skipped: the last good .*00000"
    ):
        run(hopeless, tmp_path, CPU)
    assert capsys.readouterr().err.count("back to 0 images, skipping the batch at ") == 3
    report = json.loads((tmp_path / "trouble.json").read_text())
    assert len(report["skipped_batches"]) == 3
    assert len(report["losses"]) == len(report["logsnrs"]) == 16
    assert report["weights"]["down"] > 0
    assert (
        "although 3 batches after 0 images were skipped" in json.loads((tmp_path / "failure.json").read_text())["error"]
    )
    tensors, _ = end(tmp_path)
    assert all(value.isfinite().all() for value in tensors.values())


def test_only_the_first_non_finite_step_is_recorded():
    monitor = NonFiniteMonitor("cpu")
    fine, logsnr, gradient = torch.ones(2), torch.tensor([0.0, 3.0]), torch.tensor(1.0)
    monitor.check(0, fine, logsnr, gradient)
    assert monitor.read() is None
    monitor.check(16, torch.tensor([1.0, math.inf]), logsnr, gradient)
    monitor.check(32, fine * math.nan, logsnr, gradient * math.nan)
    wrong = monitor.read()
    assert wrong is not None
    assert str(wrong) == "1 of 2 losses not finite, at log-SNR 3.0 to 3.0, gradient norm 1.0"
    assert (wrong.data_position, wrong.losses) == (16, [1.0, math.inf])


def test_a_loss_spike_causes_a_warning():
    assert loss_spike(1.0, [0.3, 0.2, 0.25, 0.2, 0.3]) == "loss 1 is 4.0 times the recent median, 0.25"
    assert loss_spike(0.7, [0.3, 0.2, 0.25, 0.2, 0.3]) == ""
    assert loss_spike(9.0, [0.3]) == ""


def test_a_run_tells_of_a_loss_that_leaps(tmp_path: Path, monkeypatch, capsys):
    read, lines = LossMeter.read, []

    def leaping(self: LossMeter) -> Means:
        lines.append(read(self))
        return lines[-1]._replace(loss=100.0) if len(lines) == 7 else lines[-1]

    monkeypatch.setattr(LossMeter, "read", leaping)
    assert run(replace(SHORT, every=replace(SHORT.every, log=16)), tmp_path, CPU)
    (output,) = capsys.readouterr().err.splitlines()
    assert output.startswith("limpid: loss 100 is ")
    assert output.endswith(", after 112 images")


def test_the_log_tells_the_loss_at_every_level_that_was_met(tmp_path: Path):
    assert run(SHORT, tmp_path, CPU)
    for line in jsonl.read_jsonl(tmp_path / "log.jsonl"):
        assert set(line["loss_by_logsnr"]) <= set(jsonl.LOGSNR_BINS)
        assert min(line["loss_by_logsnr"].values()) < line["loss"] < max(line["loss_by_logsnr"].values())


def test_samples_without_content_cause_a_warning():
    noise = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    assert degenerate_samples(noise) == ""
    assert (
        degenerate_samples(torch.zeros_like(noise))
        == "the samples are flat: each is of one colour, 0 of 255 on average"
    )
    assert degenerate_samples(noise[:1].expand_as(noise)) == "the samples are all the same"


def test_a_run_tells_of_samples_without_content(tmp_path: Path, monkeypatch, capsys):
    flat = Samples(torch.zeros(64, 1, 8, 8, dtype=torch.uint8), None, tuple(range(64)))
    monkeypatch.setattr(figures, "preview_samples", lambda pipeline: flat)
    assert run(replace(SHORT, every=replace(SHORT.every, sample=64)), tmp_path, CPU)
    assert capsys.readouterr().err.count("the samples are flat") == 2


def small_memory(most: int, patch: pytest.MonkeyPatch) -> None:
    """A network that has no memory for more images at a time than `most`."""
    loss_of = accumulate.denoising_loss

    def frugal(model, x0, *args):
        loss = loss_of(model, x0, *args)
        if len(x0) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines")
        return loss

    patch.setattr(accumulate, "denoising_loss", frugal)


VARIED = {
    "plain": SHORT,
    "uncertain": replace(SHORT, uncertainty_weighting=True, level_sampler=LossSecondMoment(bins=4)),
    "variance": replace(SHORT, learned_variance=True, schedule=Cosine(T=100), noise_conditioning=Timestep(steps=100)),
}


@pytest.mark.parametrize("recipe", VARIED.values(), ids=VARIED)
def test_a_batch_in_parts_gives_the_same_losses_and_gradients(recipe: Recipe):
    losses, gradients = [], []
    for micro in (16, 5):
        runtime = replace(CPU, micro_batch=micro)
        source = recipe.data.open("cpu")
        state = init_state(recipe, source.shape, len(source.class_names), runtime)
        noisy = training.make_noisy_batch(state, recipe, *next(source.batches(0, 16, 0)))
        losses.append(accumulate.forward_backward(state, recipe, noisy, runtime))
        learnt = [weight for group in state.optimizer.param_groups for weight in group["params"]]
        gradients.append(torch.cat([weight.grad.flatten() for weight in learnt]))
    assert_close(*losses, rtol=1e-4, atol=1e-6)
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[0].norm()


def test_a_run_by_parts_is_the_same_up_to_rounding(tmp_path: Path):
    for folder, runtime in ((tmp_path / "whole", CPU), (tmp_path / "parts", replace(CPU, micro_batch=6))):
        assert run(SHORT, folder, runtime)
    unsplit, parts = (jsonl.read_jsonl(tmp_path / name / "log.jsonl") for name in ("whole", "parts"))
    assert [line["loss"] for line in parts] == pytest.approx([line["loss"] for line in unsplit], rel=1e-3)


def test_a_run_out_of_memory_goes_on_in_halves(tmp_path: Path, monkeypatch, capsys):
    assert run(SHORT, tmp_path / "by hand", replace(CPU, micro_batch=4))
    assert capsys.readouterr().err == ""
    small_memory(7, monkeypatch)
    assert run(SHORT, tmp_path / "halved", CPU)
    output = capsys.readouterr().err.splitlines()
    assert output == [f"limpid: out of memory: from now on {n} images at a time, of the same batch" for n in (8, 4)]
    assert same(end(tmp_path / "by hand")[0], end(tmp_path / "halved")[0])


def test_samples_are_generated_in_parts_when_memory_is_short(monkeypatch, capsys):
    pipeline, steps = Pipeline(build_denoiser(SHORT, (1, 8, 8), 10), SHORT, (1, 8, 8), runtime=CPU), Pipeline.trajectory

    def frugal(self: Pipeline, seeds, *, labels=None):
        if len(seeds) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        yield from steps(self, seeds, labels=labels)

    def sampled(batch: int) -> list[torch.Tensor]:
        return list(pipeline.sample_batches(range(14), [3] * 14, batch))

    by_hand = sampled(3)
    monkeypatch.setattr(Pipeline, "trajectory", frugal)
    halved = sampled(12)
    assert [len(pixels) for pixels in halved] == [12, 2]
    assert (torch.cat(halved).int() - torch.cat(by_hand).int()).abs().max() <= 1
    output = capsys.readouterr().err.splitlines()
    assert output == [f"limpid: out of memory: from now on {n} images at a time, of the same batch" for n in (6, 3)]


def test_memory_for_less_than_one_image_is_one_clear_line(tmp_path: Path, monkeypatch):
    small_memory(0, monkeypatch)
    with pytest.raises(
        MemoryError, match=r"^out of memory with one image at a time: CUDA out of memory. Tried to"
    ) as error:
        run(SHORT, tmp_path, CPU)
    assert "\n" not in str(error.value)


def test_a_cpu_that_is_out_of_memory_is_understood():
    def work(size: int) -> int:
        return torch.empty(size << 56, dtype=torch.uint8).numel() if size > 3 else size

    assert find_executable_batch_size(work, 32) == (2, 2)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive"),
        RuntimeError("could not create a primitive descriptor for the matmul primitive"),
        RuntimeError("could not execute a primitive"),
        RuntimeError("std::bad_alloc"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("HIP out of memory. Tried to allocate 20.00 MiB"),
        MemoryError("Unable to allocate 8.00 GiB for an array"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_whatever_a_backend_says_for_no_memory_halves_the_work(error: Exception):
    def work(size: int) -> int:
        if size > 3:
            raise error
        return size

    assert find_executable_batch_size(work, 32) == (2, 2)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("CUDA error: device-side assert triggered")],
)
def test_an_error_of_a_disk_or_a_kernel_is_not_taken_for_a_lack_of_memory(error: Exception):
    def work(size: int) -> int:
        raise error

    with pytest.raises(type(error), match=str(error.args[-1])):
        find_executable_batch_size(work, 32)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def work(size: int) -> torch.Tensor:
        return torch.ones(2) @ torch.ones(3)

    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        find_executable_batch_size(work, 4)


def test_parts_of_less_than_nothing_are_refused():
    with pytest.raises(ValueError, match=r"--micro-batch -1: expected a number of images"):
        TrainingRuntime("cpu", micro_batch=-1).resolve()


def deterministic(folder: Path) -> None:
    torch.set_num_threads(1)
    tell, found = LossLog.write_line, []

    def telling(self: LossLog, step: StepMetrics) -> None:
        found.append(torch.are_deterministic_algorithms_enabled())
        return tell(self, step)

    LossLog.write_line = telling
    run(SHORT, folder, TrainingRuntime("cpu", "float32", deterministic=True))
    assert found
    assert all(found)


def test_deterministic_kernels_give_the_bits_that_a_cpu_gives_anyway(tmp_path: Path):
    process = LIVES.Process(target=deterministic, args=(tmp_path / "deterministic",))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert run(SHORT, tmp_path / "default", CPU)
    assert same(end(tmp_path / "deterministic")[0], end(tmp_path / "default")[0])


def test_a_lack_of_memory_without_a_word_is_one_too():
    def work(size: int) -> int:
        if size > 5:
            raise MemoryError
        return size

    assert find_executable_batch_size(work, 20) == (5, 5)


def test_eps_near_pure_noise_is_warned_of_once(capsys: pytest.CaptureFixture[str]):
    model = build_denoiser(replace(TINY, target=Eps()), (1, 8, 8), 10)
    for sigma_max in (9_999.0, 12_345.0, 12_345.0):
        check_starts_solvable(model, sampling_levels(Karras(sigma_max=sigma_max), 4))
    (line,) = capsys.readouterr().err.splitlines()
    assert "Eps() near pure noise: an error of the network counts 1e+04 times" in line


def test_v_is_as_good_near_pure_noise_as_anywhere(capsys: pytest.CaptureFixture[str]):
    check_starts_solvable(
        build_denoiser(replace(TINY, target=V()), (1, 8, 8), 10), sampling_levels(Karras(sigma_max=1e5), 4)
    )
    assert not capsys.readouterr().err
