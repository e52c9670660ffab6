"""`limpid show`: every figure of a recipe and of a run."""

from pathlib import Path

import pytest
import torch
from tiny_commands import width

from limpid.cli.main import main
from limpid.diffusion.schedules import Cosine, Karras
from limpid.sampling.figures import level_title

pytestmark = pytest.mark.usefixtures("no_final_figures")


@pytest.mark.parametrize("figure", ["forward", "schedule", "data"])
def test_every_figure_of_a_recipe_is_written(figure: str, tmp_path: Path):
    out = tmp_path / "figure.png"
    assert main(["show", figure, "demo", "--schedule", "LinearBeta", "--out", str(out)]) == 0
    assert width(out) > 300


def test_the_forward_strip_has_a_column_for_each_timestep(tmp_path: Path, capsys):
    out = tmp_path / "strip.png"
    args = ["show", "forward", "demo", "--schedule", "LinearBeta", "--out", str(out), "--timesteps"]
    assert main([*args, "0", "500", "1000"]) == 0
    of_three = width(out)
    assert main([*args, "0", "250", "500", "750", "1000"]) == 0
    assert width(out) > of_three
    assert main([*args, "1001"]) == 2
    assert "has those from 0 to 1000" in capsys.readouterr().err


@pytest.mark.parametrize("figure", ["trajectory", "loss"])
def test_every_figure_of_a_run_is_written(figure: str, tiny_run: Path, tmp_path: Path, capsys):
    out = tmp_path / "figure.png"
    assert main(["show", figure, str(tiny_run), "--out", str(out)]) == 0
    assert width(out) > 300
    assert ("3 of 3 network evaluations" in capsys.readouterr().err) == (figure == "trajectory")


def test_show_data_refuses_what_training_would(capsys):
    assert main(["show", "data", "demo", "--network.channel-mult", "1", "2", "2", "2", "2", "2", "2"]) == 2
    assert capsys.readouterr().err.startswith("limpid: ")


def test_a_level_is_labelled_with_its_timestep_where_the_schedule_is_discrete():
    u = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    cosine = Cosine(T=400)
    assert [level_title(cosine, cosine(u)[i]) for i in range(3)] == ["t = 0", "t = 100", "t = 400"]
    assert level_title(Karras(), Karras()(u)[2]) == "σ = 80"
