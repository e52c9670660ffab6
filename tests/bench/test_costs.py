"""What a recipe costs is measured on what the recipe does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_recipes import CPU, TINY

from limpid.bench import costs
from limpid.bench.costs import (
    BenchResult,
    StepCost,
    bench_table,
    bench_to_dict,
    count_parameters,
    open_source,
    sampling_step,
    training_step,
)
from limpid.bench.timing import Measurement, count_flops
from limpid.cli.main import main
from limpid.data import Cifar10
from limpid.optim.optimizers import AdamW


def test_a_training_step_costs_three_network_evaluations():
    by_adam = replace(TINY, optimizer=AdamW())  # Muon adds matrix products of its own
    evaluation, step = count_flops(sampling_step(TINY, CPU)), count_flops(training_step(by_adam, CPU))
    assert 2.8 < step / evaluation < 3


def test_the_step_that_is_measured_is_a_training_step():
    step = training_step(replace(TINY, duration=1), CPU)
    first, second = step(), step()
    assert (first.images_seen, second.images_seen) == (TINY.batch_size, 2 * TINY.batch_size)
    assert first.loss.isfinite().all()
    assert sampling_step(TINY, CPU)().shape == (TINY.batch_size, 1, 8, 8)


@pytest.mark.parametrize("data", [Cifar10(root="/nowhere"), Cifar10(split="test", size=16, workers=1)])
def test_a_recipe_is_timed_without_its_download(data: Cifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Random images replace those that would be downloaded: as many, of the same shape and classes."""
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path))
    monkeypatch.setattr("limpid.data.cifar10.download", lambda *_: pytest.fail("it downloads"))
    network = replace(TINY.network, attn_resolutions=())
    recipe = replace(TINY, data=data, batch_size=4, class_conditional=True, network=network)
    step = training_step(recipe, CPU)()
    assert step.loss.isfinite().all()
    assert sampling_step(recipe, CPU)().shape == (4, 3, data.size, data.size)
    source = open_source(recipe, "cpu")
    assert (len(source), source.shape, len(source.class_names)) == (
        50_000 if data.split == "train" else 10_000,
        (3, data.size, data.size),
        10,
    )
    assert count_parameters(recipe) > 0
    assert list(tmp_path.iterdir()) == []


def test_the_share_of_the_peak_is_flops_over_time():
    cost = StepCost(batch=10, seconds=Measurement((0.5, 1.0, 2.0)), flops=3_000, peak_memory=2**30)
    made = BenchResult("cpu", "Some CPU", 123, {"train, eager": cost}, {"product": 1e5, "convolution": 2e4})
    assert cost.speed.median == 10
    assert bench_to_dict(made)["costs"]["train, eager"]["share_of_peak"] == 0.3
    assert "30.0%" in bench_table(made)
    assert "123 parameters, on Some CPU" in bench_table(made)


def test_the_table_and_the_file_have_the_same_numbers(tmp_path: Path, capsys, monkeypatch):
    small = costs.peak_kernels
    monkeypatch.setattr(costs, "peak_kernels", lambda device, dtype: small(device, dtype, 64))
    out = tmp_path / "bench.json"
    args = [
        "--network.model-channels",
        "16",
        "--batch-size",
        "4",
        "--rounds",
        "2",
        "--seconds",
        "0",
        "--json",
        str(out),
    ]
    assert main(["bench", "demo", *args, "--device", "cpu", "--precision", "float32"]) == 0
    output, figures = capsys.readouterr().out, json.loads(out.read_text())
    assert "demo, batch 4, on cpu, " in output
    assert set(figures["costs"]) == {"train, eager", "sample, eager"}
    for name, cost in figures["costs"].items():
        assert f"{cost['images_per_second']:,.4g}" in next(line for line in output.splitlines() if name in line)
        assert cost["bytes"] > 10**8
    assert figures["torch"] == torch.__version__


def test_a_measurement_of_no_rounds_is_refused(capsys):
    assert main(["bench", "demo", "--rounds", "0"]) == 2
    assert "expected at least 1 round" in capsys.readouterr().err
