"""The networks that limpid is compared with are those of the papers, and the scripts that compare them run."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from limpid.bench.timing import Measurement, count_flops
from limpid.data import Cifar10
from limpid.diffusion.samplers import Ancestral, Ddim, Heun

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(name)


def weights(net: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters() if weight.requires_grad)


def test_the_commonly_written_network_is_the_papers(monkeypatch: pytest.MonkeyPatch):
    net = script("common_unet", monkeypatch).CommonUNet()
    assert weights(net) == 35_746_307
    assert net(torch.randn(1, 3, 32, 32), torch.tensor([999])).shape == (1, 3, 32, 32)


def test_the_small_contestants_have_equal_weights_and_arithmetic(monkeypatch: pytest.MonkeyPatch):
    peers = script("peers", monkeypatch)
    own = peers.build_denoiser(peers.recipe_of("cifar10-small", 2), (3, 32, 32), 0)
    assert weights(own) == weights(peers.diffusers_network("cifar10-small", "cpu"))
    flops, their_flops = (
        count_flops(made("cifar10-small", "float32", "cpu", 2))
        for made in (peers.limpid_evaluation, peers.diffusers_evaluation)
    )
    assert flops == their_flops


def test_the_outside_classifiers_recognise_real_images(cifar_root: Path, monkeypatch: pytest.MonkeyPatch):
    found = script("outside_classifiers", monkeypatch).classifiers()
    assert set(found) == {"ResNet-56", "ResNet-20"}
    real = Cifar10(split="test", root=str(cifar_root)).load()
    for extractor in found.values():
        found = extractor.extract(real.pixels[:250])
        assert found.features.shape == (250, 64)
        assert (found.logits.argmax(1) == real.labels[:250]).double().mean() > 0.86


def test_the_network_evaluations_are_those_that_a_sampler_takes(monkeypatch: pytest.MonkeyPatch):
    steps = script("steps", monkeypatch)
    assert [steps.count_evaluations(sampler, 5) for sampler in (Ancestral(), Ddim(), Heun())] == [5, 5, 9]
    assert [steps.steps_for(Heun(), n) for n in (1, 2, 9, 10)] == [1, 1, 5, 5]


def test_a_comparison_prints_speeds_ratio_and_memory(monkeypatch: pytest.MonkeyPatch):
    duels = script("paired", monkeypatch)
    speeds = Measurement((20.0, 40.0, 60.0)), Measurement((10.0, 10.0, 20.0))
    made = duels.Duel("net", 16, ("limpid", "peer"), speeds, (10**9, 4 * 10**9), 2.0)
    assert made.ratio.rounds == (2.0, 4.0, 3.0)
    assert str(made) == (
        "net, batch 16: limpid 40 images/s, 1.00 GB | peer 10 images/s, 4.00 GB"
        " | 3.00 times (2.50 .. 3.50, wanted 2.0), 0.25 of the memory"
    )


def test_a_comparison_runs_and_is_written_to_a_file(tmp_path: Path):
    words = [str(BENCHMARKS / "training_step.py"), "--quick", "--device", "cpu", "--out", str(tmp_path / "step")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    (duel,) = json.loads((tmp_path / "step.json").read_text())["duels"]
    assert [one["name"] for one in duel["contestants"]] == ["limpid, bfloat16", "diffusers, float32"]
    assert all(len(one["turns"]) == 2 and one["bytes"] > 10**8 for one in duel["contestants"])
    assert f"{duel['ratio']:.2f} times" in done.stdout
    assert (tmp_path / "step-cifar10-small.png").stat().st_size > 1000


def test_the_scaling_over_processes_is_measured_and_written_to_a_file(tmp_path: Path):
    words = [str(BENCHMARKS / "scaling.py"), "--quick", "--device", "cpu", "--out", str(tmp_path / "scaling")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    teams = json.loads((tmp_path / "scaling.json").read_text())["teams"]
    names = ["1 process", "2 processes", "2 processes, DistributedDataParallel"]
    assert [team["name"] for team in teams] == names
    assert all(len(team["turns"]) == 2 for team in teams)
    assert "batch 4, 2 processes: " in done.stdout
