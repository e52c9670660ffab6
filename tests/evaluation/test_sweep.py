"""`limpid evaluate --sweep` evaluates every combination of sampling options."""

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_recipes import CPU, TINY

from limpid.cli.main import main
from limpid.evaluation.report_file import load_reports
from limpid.optim.ema import Ema
from limpid.sampling.pipeline import load
from limpid.storage.hashing import weights_sha256
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_a_sweep_scores_every_combination(cache: None, trained_run: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--sweep", "sampler.steps=1,2", "clip-denoised=True,False", "--n", "40", "--device", "cpu"]
    assert main(["evaluate", str(trained_run), *options]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    rows = [line[:3] for line in lines if line[0].isdigit()]
    assert rows == [[steps, clip, nfe] for steps, nfe in ("12", "26") for clip in ("True", "False")]
    assert (trained_run / "sweep.png").exists()


def test_a_sweep_over_weights_samples_with_each(cache: None, tmp_path: Path):
    folder = tmp_path / "run"
    assert run(replace(TINY, ema=Ema(halflife=1e6, rampup_ratio=0)), folder, CPU)
    options = ["--sweep", "weights=ema,raw", "--n", "40", "--steps", "2", "--out", str(tmp_path / "scores.json")]
    assert main(["evaluate", str(folder), *options, "--device", "cpu"]) == 0
    reports = load_reports(tmp_path / "scores.json")
    hashes = [weights_sha256(load(folder, runtime=CPU, weights=weights).model.net)[:12] for weights in ("ema", "raw")]
    assert [report.provenance["weights sha256"] for report in reports] == hashes
    assert hashes[0] != hashes[1]
    assert reports[0].scores["FD-CIFAR"].value != reports[1].scores["FD-CIFAR"].value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sweep", "precision=float32,bfloat16"], "options of sampling"),
        (["--sweep", "features=cifar,edm"], "options of sampling"),
        (["--sweep", "out=a.json,b.json"], "options of sampling"),
        (["--sweep", "steps=1,2", "--likelihood-images", "2"], "leave out"),
        (["--sweep", "steps=1,2", "--save-stats", "st.npz"], "leave out"),
    ],
    ids=" ".join,
)
def test_options_that_a_sweep_would_ignore_are_refused(
    cache: None, trained_run: Path, options: list[str], message: str, capsys
):
    assert main(["evaluate", str(trained_run), *options, "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("sweep", ["steps", "=1", "steps=", "steps=1,,2"])
def test_a_sweep_that_cannot_be_read_is_named(
    cache: None, trained_run: Path, sweep: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["evaluate", str(trained_run), "--sweep", sweep, "--device", "cpu"]) == 2
    assert f"--sweep {sweep}: expected an option and its values" in capsys.readouterr().err
