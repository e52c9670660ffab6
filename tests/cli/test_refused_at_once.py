"""A mistake is refused in one line, before any image is read, sampled or evaluated, and before anything is printed."""

from dataclasses import replace
from pathlib import Path

import pytest
from random_models import EPS, saved_model

from limpid.cli.main import main
from limpid.evaluation.api import evaluate


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, and with files that are none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "data"))
    file = saved_model(tmp_path / "run", replace(EPS, class_conditional=True), (1, 8, 8))
    Path(file).rename(Path(file).with_name("000000000000.safetensors"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    return tmp_path


def refused(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The line with which a command is refused; it prints nothing else."""
    assert main(words.split()) == 2
    out, line = capsys.readouterr()
    assert out == ""
    assert line.startswith("limpid: ")
    assert line.count("\n") == 1, line
    return line


SAMPLES = {
    "--steps 0": "sampling steps 0: expected at least 1",
    "--labels 99": "no class '99': choose from cat, dog, owl",
    "--labels dgo": "did you mean dog?",
    "--labels cat cat cat --num-samples 2": "3 labels for 2 samples",
    "--num-samples 0": "--num-samples 0 --batch-size 80: expected at least 1 of each",
    "--batch-size -1": "--batch-size -1: expected at least 1 of each",
    "--steps 2 --guidance 2": "this model was trained without label dropout",
    "--guidance abc": "--guidance.scale abc: expected a number",
    "--guidance 2 --guidance-model absent": "no checkpoint in absent",
    "--steps 2 --sampler.variance learned": "learned no variance",
    "--sampler Hein": "did you mean Heun?",
    "--seed abc": "--seed abc: expected a whole number",
    "--out notes.txt": "--out notes.txt: expected a folder, or a .png of the grid",
    "--out new/grid.JPG": "--out new/grid.JPG: expected a folder, or a .png of the grid",
    "--out samples.npz": "--out samples.npz: expected a folder, or a .png of the grid",
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("words", SAMPLES)
def test_samples_that_cannot_be_made_are_refused_before_anything_is_printed(words: str, capsys):
    assert SAMPLES[words] in refused(f"sample run --device cpu {words}", capsys)
    assert not Path("run/drawn").exists()


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("words", ["train demo", "train demo --epochs 1", "show data demo"])
def test_a_new_run_on_a_folder_that_does_not_exist_is_refused_with_what_was_expected(words: str, capsys):
    line = refused(f"{words} --data ./photos", capsys)
    assert line.endswith("photos: expected a folder of images, or a file that holds them\n")


OTHERS = {
    "show trajectory run --seeds": "--seeds is empty: expected at least one seed",
    "show data demo --data folder --data.channels RBG": "no data.channels 'RBG': choose from L, RGB, RGBA",
    "show data demo --data folder --data.white ato": "no data.white 'ato': choose from auto",
    "train demo --run notes.txt": "--run notes.txt is a file: expected a folder, new or of a run",
    "edit interpolate run --seeds 1 2 --out new/x.jpg": "new/x.jpg: expected a path that ends in .png",
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("words", OTHERS)
def test_other_mistakes_are_refused_before_any_work(words: str, capsys):
    assert OTHERS[words] in refused(words, capsys)


COUNTS = {
    "--n 1": "1 images are too few to evaluate: expected at least 40",
    "--n 0": "0 images are too few to evaluate",
    "--n -1": "-1 images are too few to evaluate",
    "--n 40 --batch-size 0": "batch size 0: expected at least 1",
    "--sweep n=40,39": "39 images are too few to evaluate",
    "--sweep steps=2,0": "sampling steps 0: expected at least 1",
    "--n 40 --steps 0": "sampling steps 0: expected at least 1",
    "--n 40 --out folder": "folder is a folder: name a file for the scores with --out, as in folder/scores.json",
}


@pytest.fixture
def no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the real images fails the test."""
    for room in ("cli.evaluate", "evaluation.api"):
        monkeypatch.setattr(f"limpid.{room}.reference_set", lambda *_: pytest.fail("the reference was computed"))


@pytest.mark.usefixtures("place", "no_reference")
@pytest.mark.parametrize("words", COUNTS)
def test_samples_that_cannot_be_evaluated_are_refused_before_the_reference_is_read(words: str, capsys):
    assert COUNTS[words] in refused(f"evaluate run --device cpu --reference Digits {words}", capsys)


@pytest.mark.usefixtures("place", "no_reference")
def test_too_few_images_of_files_are_refused_before_they_are_read(capsys):
    assert "1 images are too few to evaluate" in refused("evaluate folder --reference Digits --n 1", capsys)


@pytest.mark.usefixtures("place", "no_reference")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "0 images are too few to evaluate"),
        ({"n": 39}, "39 images are too few to evaluate"),
        ({"batch_size": 0}, "batch size 0: expected at least 1"),
    ],
)
def test_python_refuses_them_as_early(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        evaluate("run", **options)
