"""limpid in another program changes nothing of it: no generator, thread count, affinity, signal handler or setting."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from process_state import process_state
from run_results import equal_content, files_of_run
from tiny_recipes import CPU, FULL, TINY

from limpid.bench import costs
from limpid.evaluation.classifier import untrained_classifier
from limpid.metrics.extractors import cifar_classifier
from limpid.nets.kernels.dropout_cpu import Dropout, dropout_from
from limpid.runtime.device import WORKSPACE, TrainingRuntime
from limpid.runtime.rng import default_generators_seeded
from limpid.sampling import figures
from limpid.sampling.pipeline import load
from limpid.storage import checkpoint
from limpid.training.loop import training_loop
from limpid.training.run import run
from limpid.training.state import init_state


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guest") / "run"
    run(TINY, folder, TrainingRuntime("cpu", "float32"))
    return folder


def whole_run(folder: Path) -> None:
    run(FULL, folder.with_name("another"), TrainingRuntime("cpu", "float32", deterministic=True))


def steps(_: Path) -> None:
    source = FULL.data.open("cpu")
    list(training_loop(init_state(FULL, source.shape, 10, CPU), FULL, source, CPU))


def samples(folder: Path) -> None:
    now = load(folder, runtime=CPU)
    now.sample(2, labels=[0, 1])
    figures.denoising_animation(now, folder / "denoising.webp", range(2), [0, 1])


GUESTS: dict[str, Callable[[Path], object]] = {
    "choosing a machine": lambda _: TrainingRuntime().resolve(32_000),
    "choosing one of two threads": lambda _: TrainingRuntime("cpu", threads=2, deterministic=True).resolve(),
    "a run": whole_run,
    "training steps": steps,
    "sampling": samples,
    "a feature network": lambda _: cifar_classifier.cifar_extractor(),
    "a classifier": lambda _: untrained_classifier(0, CPU),
    "counting parameters": lambda _: costs.count_parameters(TINY),
}


@pytest.mark.parametrize("name", GUESTS)
def test_the_process_is_afterwards_as_it_was(name: str, pipeline: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.getloadavg", lambda: (2.0, 2.0, 2.0))
    before = process_state()
    GUESTS[name](pipeline)
    assert process_state() == before


def test_a_run_trains_in_a_thread_to_the_same_bits_while_the_main_thread_uses_its_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(figures, "seconds_per_image", lambda *_: 1e-6)  # a busy machine would leave out samples
    runtime, before = TrainingRuntime("cpu", "float32"), process_state()
    run(FULL, tmp_path / "main", runtime)
    thread = threading.Thread(target=run, args=(FULL, tmp_path / "thread", runtime))
    thread.start()
    while not (checkpoint.latest(tmp_path / "thread" / "checkpoints") or not thread.is_alive()):
        time.sleep(0.01)  # its weights are initialized from the default generator, whose state is then restored
    expected = torch.Generator().set_state(torch.get_rng_state())
    while thread.is_alive():
        assert torch.equal(torch.rand(100), torch.rand(100, generator=expected))
    thread.join()
    one, other = files_of_run(tmp_path / "main"), files_of_run(tmp_path / "thread")
    assert [name for name in one if not equal_content(one[name], other.get(name)) and name != "loss.png"] == []
    assert process_state() == before | {"torch's generator": torch.get_rng_state().numpy().tobytes()}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_dropout_draws_from_its_seed_what_the_default_generator_would_draw(device: str):
    x, dropout = torch.ones(4, 8, 5, 5, device=device), Dropout(0.3)
    torch.manual_seed(7)
    by_default = dropout(x)
    before = torch.get_rng_state()
    with dropout_from(torch.Generator().manual_seed(7)):
        masked = dropout(x)
    with default_generators_seeded(7, device):
        seeded = dropout(x)
    assert torch.equal(torch.get_rng_state(), before)
    if device == "cpu":
        assert torch.equal(masked, by_default)
        assert torch.equal(seeded, by_default)


def test_settings_hold_inside_and_what_held_before_holds_afterwards():
    before = process_state()
    with TrainingRuntime("cpu", threads=2, deterministic=True).settings():
        assert torch.get_num_threads() == 2
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ[WORKSPACE]
    assert process_state() == before


def test_a_process_is_configured_for_good_by_a_call_of_its_own():
    before = process_state()
    with TrainingRuntime("cpu").settings():  # puts back what the next line leaves
        configured = replace(CPU, threads=2).setup()
        assert (configured.threads, torch.get_num_threads()) == (2, 2)
        assert "2 threads" in str(configured)
    assert process_state() | {"affinities": 0} == before | {"affinities": 0}


def test_attention_of_cudnn_is_off_while_the_network_runs_on_a_gpu_and_on_again_afterwards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.backends.cuda.enable_cudnn_sdp(True)
    with pytest.warns(UserWarning, match="CUDA is not available"), TrainingRuntime("cuda", "bfloat16").autocast():
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled()
