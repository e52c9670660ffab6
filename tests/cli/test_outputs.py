"""The files that `limpid sample`, `edit` and `show` write, and where."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from random_models import EPS, saved_model

from limpid.cli.main import main
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.samples import row_labels

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_sampling_writes_the_files_that_the_options_name(tiny_run: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    args = ["--n", "6", "--labels", "3", "7", "--seed", "5", "--save-images", "--npz", "--animation", "--out", str(out)]
    assert main(["sample", str(tiny_run), *args]) == 0
    printed = capsys.readouterr().out.split()
    assert {Path(line) for line in printed} >= {out / "grid.png", out / "samples.npz", out / "denoising.webp"}
    assert sorted(p.name for p in (out / "images").iterdir()) == [f"{seed:06d}.png" for seed in range(5, 11)]
    arrays = np.load(out / "samples.npz")
    assert arrays["images"].shape == (6, 8, 8, 1)
    assert arrays["labels"].tolist() == [3, 3, 3, 7, 7, 7]
    assert arrays["class_names"].tolist() == list("0123456789")
    with Image.open(out / "images" / "000007.png") as single:
        assert np.array_equal(np.array(single), arrays["images"][2, :, :, 0])


def test_png_files_of_five_channels_are_refused_before_sampling(tmp_path: Path, capsys, monkeypatch):
    model = saved_model(tmp_path, EPS, (5, 8, 8))
    monkeypatch.setattr(Pipeline, "sample_batches", None)  # a call of it would fail
    assert main(["sample", model, "--n", "1", "--save-images", "--device", "cpu"]) == 2
    assert "a PNG holds 1, 3 or 4 channels" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_refused_before_sampling(tmp_path: Path, capsys, monkeypatch):
    model = saved_model(tmp_path, EPS, (1, 8, 8))
    monkeypatch.setattr(Pipeline, "sample_batches", None)  # a call of it would fail
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "samples"
    assert main(["sample", model, "--n", "1", "--steps", "2", "--out", str(out), "--device", "cpu"]) == 1
    assert f"{out}: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ([0, 0, 1, 1], ["cat", "dog"]),
        ([1, 1, 0, 0, 1, 1], ["dog", "cat", "dog"]),
        ([0, 0, 0, 1, 1], []),
        ([0, 1], []),
        ([], []),
    ],
)
def test_rows_have_labels_where_every_class_has_equally_many_samples(labels: list[int], rows: list[str]):
    assert row_labels(labels, ["cat", "dog"]) == rows


def test_a_single_sample_can_be_generated_again(tiny_run: Path, tmp_path: Path):
    for seed, n in ((0, 4), (2, 1)):
        args = ["--n", str(n), "--seed", str(seed), "--labels", "4", "--npz", "--out", str(tmp_path / str(n))]
        assert main(["sample", str(tiny_run), *args, "--precision", "float32"]) == 0
    together, alone = (np.load(tmp_path / name / "samples.npz")["images"].astype(int) for name in ("4", "1"))
    assert abs(together[2] - alone[0]).max() <= 1


def test_samples_replace_earlier_ones_only_with_overwrite(tiny_run: Path, tmp_path: Path, capsys):
    args = ["sample", str(tiny_run), "--n", "2", "--npz", "--out", str(tmp_path), "--device", "cpu"]
    assert main(args) == main([*args, "--seed", "7"]) == main([*args, "--seed", "8", "--overwrite"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"grid.png", "grid-2.png", "samples.npz", "samples-2.npz"}
    assert np.load(tmp_path / "samples.npz")["seeds"].tolist() == [8, 9]
    output = capsys.readouterr().err
    assert re.search(r"sampling from \S+\.safetensors \(ema weights, \d+ images seen, saved .* ago\)", output)


def test_an_out_with_a_suffix_is_a_file_and_one_without_is_a_folder(tiny_run: Path, tmp_path: Path):
    assert main(["sample", str(tiny_run), "--n", "2", "--out", str(tmp_path / "mine.png")]) == 0
    assert main(["show", "schedule", "demo", "--out", str(tmp_path / "figures")]) == 0
    assert main(["edit", "img2img", str(tiny_run), "--steps", "2", "--threads", "1", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "mine.png").is_file()
    assert (tmp_path / "figures" / "schedule.png").is_file()
    assert (tmp_path / "img2img.png").is_file()
