"""Every command with every common mistake: exit code 2, a line that names what was wrong, and nothing written."""

from contextlib import suppress
from pathlib import Path

import pytest

from limpid.cli.main import COMMANDS, main

RUN_COMMANDS = [
    *("sample", "edit img2img", "show trajectory", "show loss", "likelihood", "posthoc-ema", "evaluate"),
    *("export diffusers", "export onnx", "export torch", "export hub", "export tensorboard"),
]
"""Those that begin with a run; `{}` stands for what is given in its place."""
RECIPE_COMMANDS = ["train", "bench", "show forward", "show schedule", "show data"]
ALL_COMMANDS = [*RUN_COMMANDS, *RECIPE_COMMANDS, "compare {}", "import"]
OTHERS = {"lab", "recipes"}
"""Commands that take nothing."""

ABSENT = "absent"
EMPTY = "empty"
"""A folder with nothing in it."""
FOREIGN = "foreign.safetensors"
"""A file that limpid did not write, with a name like that of one of its files."""
BROKEN = "broken"
"""A run whose recipe and checkpoint are cut off."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / EMPTY).mkdir()
    (tmp_path / FOREIGN).write_bytes(b"PK\x03\x04 this is no checkpoint")
    (tmp_path / "foreign.toml").write_bytes(b"\xff\xfe = [")
    (tmp_path / BROKEN / "checkpoints").mkdir(parents=True)
    (tmp_path / BROKEN / "checkpoints" / "000000000032.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    (tmp_path / BROKEN / "recipe.json").write_text('{"kind": "Recipe", "images": ')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "data"))
    return tmp_path


def refused(words: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says that ends with exit code 2, in one line, and has written nothing."""
    before = sorted(place.rglob("*"))
    assert main(words) == 2
    output = capsys.readouterr()
    assert output.err.startswith("limpid: ")
    assert output.err.strip().splitlines()[-1:] == output.err.strip().splitlines()[:1], output.err
    assert output.out == ""
    assert sorted(place.rglob("*")) == before
    return output.err


def test_the_table_has_every_command():
    assert {command.split()[0] for command in ALL_COMMANDS} | OTHERS == set(COMMANDS)


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_a_command_without_its_argument_names_what_it_needs(command: str, place: Path, capsys):
    assert "needs a" in refused(command.replace("{}", "").split(), place, capsys)


@pytest.mark.parametrize("command", ALL_COMMANDS)
@pytest.mark.parametrize("given", [ABSENT, EMPTY, FOREIGN, "foreign.toml", BROKEN])
def test_a_missing_or_broken_file_is_named(command: str, given: str, place: Path, capsys):
    words = [word.replace("{}", given) for word in command.split()]
    assert given.removesuffix(".toml") in refused([*words, given], place, capsys)


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_a_command_given_nonsense_does_not_fall_over(command: str, place: Path, capsys):
    words = [word.replace("{}", "\0") for word in command.split()]
    for given in ("\0", "é" * 300, "a/" * 500):
        assert refused([*words, given], place, capsys).count("\n") == 1


IMPOSSIBLE = [
    *(
        "--images -5",
        "--batch-size 0",
        "--label-dropout 2",
        "--every.save -1",
        "--augment.flip 2",
        "--network.model-channels 0",
    ),
    *("--optimizer.lr nan", "--optimizer.betas 0.9 1", "--optimizer.max-grad-norm 0", "--optimizer.warmup-images -1"),
    *("--ema.halflife 0", "--ema-snapshots 0.5", "--ema-snapshots 0.05 0.0504"),
    *(
        "--noise-conditioning Timestep --noise-conditioning.steps 1",
        "--target.sigma-data 0",
        "--level-sampler LossSecondMoment --level-sampler.bins 0",
        "--ema PowerFunctionEma --ema.std 0.3",
    ),
]


@pytest.mark.parametrize("command", ["train", "bench"])
@pytest.mark.parametrize("option", IMPOSSIBLE)
def test_a_number_that_cannot_be_is_refused_before_anything_is_written(command: str, option: str, place: Path, capsys):
    before = sorted(place.rglob("*"))
    with suppress(SystemExit):  # with a page about the option, where the option itself is wrong
        assert main([command, "demo", *option.split(), "--device", "cpu"]) == 2
    assert "expected" in capsys.readouterr().err
    assert sorted(place.rglob("*")) == before


HOPELESS = {
    "--sampling.schedule TrainingSchedule": "infinite noise",
    "--sampling.sampler Ancestral --sampling.sampler.variance learned": "learned no variance",
    "--schedule LinearBeta --schedule.T 100 --sampling.schedule TrainingSchedule --sampling.steps 101": "fewer steps",
    "--learned-variance": "schedule of 2 steps or more",
    "--sampling.guidance.scale 2 --label-dropout 0": "needs a weaker model",
    "--sampling.guidance.scale 2 --sampling.guidance-model absent": "absent",
    "--sampling.steps 0": "step",
    "--schedule ZeroTerminalSnr --target Eps --sampling.schedule TrainingSchedule": "does not determine x0 at",
    "--schedule RectifiedFlow --target Eps --sampling.schedule TrainingSchedule": "does not determine x0 at pure noise",
    "--schedule ZeroTerminalSnr --target Eps --loss-weighting MinSnrWeight --sampling.schedule Karras": "no finite",
}


@pytest.mark.parametrize("options", HOPELESS)
def test_a_recipe_that_cannot_be_sampled_is_refused_before_anything_is_written(
    options: str, place: Path, capsys: pytest.CaptureFixture[str]
):
    assert HOPELESS[options] in refused(["train", "demo", *options.split(), "--device", "cpu"], place, capsys)


@pytest.mark.parametrize("command", [*RECIPE_COMMANDS, "show"])
def test_a_misspelt_name_is_answered_with_the_nearest(command: str, place: Path, capsys):
    given = [*command.split(), "demmo"] if command != "show" else ["show", "trajctory", "demo"]
    assert "did you mean" in refused(given, place, capsys)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("edit cifar10-small", "invert, as in: limpid edit inpaint cifar10-small"),
        ("show cifar10-small", "loss, as in: limpid show forward cifar10-small"),
        ("export cifar10-small", "tensorboard, as in: limpid export diffusers cifar10-small"),
        ("show loss absent", "no run folder at absent: the loss is plotted from the log.jsonl of a run"),
        ("compare cifar10-small", "to compare it with: limpid compare cifar10-small B [options]"),
        ("evaluate", "images: limpid evaluate RUN-or-IMAGES [options]"),
        ("compare cifar10-small cifar10-64-small", "scores.json: limpid evaluate cifar10-small writes them"),
        ("train demo --batch-size -3", "duration 24000, batch_size -3: expected at least 1 of each"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(command: str, message: str, place: Path, capsys):
    assert message in refused(command.split(), place, capsys)
