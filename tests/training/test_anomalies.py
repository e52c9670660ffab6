"""A loss spike and samples without content cause a warning; the log has the loss for each range of log-SNR."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_recipes import CPU, LOGGED_TWICE

from limpid.sampling import figures
from limpid.sampling.samples import Samples
from limpid.storage import jsonl
from limpid.training.anomalies import degenerate_samples, loss_spike
from limpid.training.meter import LossMeter, Means
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_a_loss_spike_causes_a_warning():
    assert loss_spike(1.0, [0.3, 0.2, 0.25, 0.2, 0.3]) == "loss 1 is 4.0 times the recent median, 0.25"
    assert loss_spike(0.7, [0.3, 0.2, 0.25, 0.2, 0.3]) == ""
    assert loss_spike(9.0, [0.3]) == ""


def test_a_loss_spike_in_a_run_is_printed(tmp_path: Path, monkeypatch, capsys):
    read, lines = LossMeter.read, []

    def read_with_spike(self: LossMeter) -> Means:
        lines.append(read(self))
        return lines[-1]._replace(loss=100.0) if len(lines) == 7 else lines[-1]

    monkeypatch.setattr(LossMeter, "read", read_with_spike)
    assert run(replace(LOGGED_TWICE, every=replace(LOGGED_TWICE.every, log=16)), tmp_path, CPU)
    (output,) = capsys.readouterr().err.splitlines()
    assert output.startswith("limpid: loss 100 is ")
    assert output.endswith(", after 112 images")


def test_the_log_has_the_loss_for_each_range_of_log_snr(tmp_path: Path):
    assert run(LOGGED_TWICE, tmp_path, CPU)
    for line in jsonl.read_jsonl(tmp_path / "log.jsonl"):
        assert set(line["loss_by_logsnr"]) <= set(jsonl.LOGSNR_BINS)
        assert min(line["loss_by_logsnr"].values()) < line["loss"] < max(line["loss_by_logsnr"].values())


def test_samples_without_content_cause_a_warning():
    noise = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    assert degenerate_samples(noise) == ""
    warning = "the samples are flat: each is of one colour, 0 of 255 on average"
    assert degenerate_samples(torch.zeros_like(noise)) == warning
    assert degenerate_samples(noise[:1].expand_as(noise)) == "the samples are all the same"


def test_samples_without_content_in_a_run_are_printed(tmp_path: Path, monkeypatch, capsys):
    flat = Samples(torch.zeros(64, 1, 8, 8, dtype=torch.uint8), None, tuple(range(64)))
    monkeypatch.setattr(figures, "preview_samples", lambda pipeline: flat)
    assert run(replace(LOGGED_TWICE, every=replace(LOGGED_TWICE.every, sample=64)), tmp_path, CPU)
    assert capsys.readouterr().err.count("the samples are flat") == 2
