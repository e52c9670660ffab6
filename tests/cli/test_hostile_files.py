"""What somebody else's files can do: no file elsewhere is changed, nothing is waited for or read without end, and a
terminal shows their letters only."""

import ast
import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recipes import CPU, TINY

from limpid.cli.main import main
from limpid.data import Cifar10, Folder
from limpid.diffusion.schedules import Cosine, LinearBeta, ScaledLinearBeta, Schedule, ZeroTerminalSnr, sampling_levels
from limpid.evaluation import report_file
from limpid.metrics import stats_file
from limpid.metrics.extractors import inception_weights
from limpid.recipes.registry import find_recipe
from limpid.runtime import terminal
from limpid.sampling.checkpoints import load_info, output_folder
from limpid.sampling.pipeline import load
from limpid.storage import checkpoint, jsonl
from limpid.storage.atomic import durable_write
from limpid.storage.chunk_cache import cached_chunk
from limpid.storage.lock import exclusive, waiting_lock
from limpid.storage.regular_files import open_unlinked, read_bytes
from limpid.training.run import run
from limpid.training.run_folder import previous_environment
from limpid.viz.text import extent

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes are those of Unix")
SECRET = b"a file elsewhere\n"


@pytest.fixture(autouse=True)
def promptly() -> Iterator[None]:
    """What waits for ever for a pipe fails after a minute."""

    def give_up(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "file"
    file.parent.mkdir()
    file.write_bytes(SECRET)
    return file


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "run"
    run(replace(TINY, duration=16), folder, CPU)
    return folder


def hold(path: Path) -> None:
    with exclusive(path.parent):
        pass


def take_turn(path: Path) -> None:
    with waiting_lock(path):
        pass


def write_durably(path: Path) -> None:
    with durable_write(path.with_suffix("")) as part:
        part.write_bytes(b"new")


WRITERS: dict[str, Callable[[Path], object]] = {
    "lock": hold,
    "scores.json.lock": take_turn,
    "log.jsonl": lambda path: jsonl.append(path, b"a line\n"),
    "recipe.json.part": write_durably,
}


@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_through_a_link(name: str, link: Callable[..., None], elsewhere: Path, tmp_path: Path):
    path = tmp_path / "run" / name
    path.parent.mkdir()
    link(elsewhere, path)
    if name.endswith(".part"):
        WRITERS[name](path)
        assert path.with_suffix("").read_bytes() == b"new"
    else:
        with pytest.raises(ValueError, match=r"link: nothing is written through one, remove it"):
            WRITERS[name](path)
    assert elsewhere.read_bytes() == SECRET


def test_a_link_that_leads_nowhere_makes_no_file_there(tmp_path: Path):
    for name in ("lock", "log.jsonl"):
        (tmp_path / name).symlink_to(tmp_path / "none")
        with pytest.raises(ValueError, match="is a link"):
            WRITERS[name](tmp_path / name)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("inner", ["drawn", "checkpoints", "samples", "snapshots/0.050"])
def test_a_folder_in_a_run_that_is_a_link_is_refused_and_the_run_itself_may_be_one(
    inner: str, elsewhere: Path, tmp_path: Path
):
    folder = tmp_path / "run"
    (folder / inner).parent.mkdir(parents=True)
    (folder / inner).symlink_to(elsewhere.parent)
    for use in (lambda: run(TINY, folder, CPU), lambda: output_folder(folder)):
        with pytest.raises(ValueError, match=rf"{inner} is a link to a folder: nothing is written through one"):
            use()
    assert os.listdir(elsewhere.parent) == ["file"]
    (folder / inner).unlink()
    (tmp_path / "another").symlink_to(folder)
    assert output_folder(tmp_path / "another") == tmp_path / "another"


def test_outputs_go_to_the_run_of_a_checkpoint_or_beside_a_file_without_run(elsewhere: Path, tmp_path: Path):
    (tmp_path / "a link of somebody").symlink_to(elsewhere.parent)
    run_folder = tmp_path / "run"
    for inner in ("checkpoints", "best"):
        assert output_folder(run_folder / inner / "000000000016.safetensors") == run_folder
    assert output_folder(tmp_path / "downloads" / "network.safetensors") == tmp_path / "downloads" / "network"
    assert output_folder(tmp_path / "network.safetensors") == tmp_path / "network"


READERS: dict[str, Callable[[Path], object]] = {
    "recipe.toml": lambda path: find_recipe(str(path)),
    "recipe.json": lambda path: find_recipe(str(path)),
    "environment.json": lambda path: previous_environment(path.parent),
    "log.jsonl": jsonl.read_jsonl,
    "another.jsonl": lambda path: jsonl.append(path, b"a line\n"),
    "lock": hold,
    "scores.json": report_file.load_reports,
    "000000000016.safetensors": lambda path: load(path, runtime=CPU),
    "statistics.npz": stats_file.load_stats,
    "weights.pth": inception_weights.load_inception,
    "images.npz": lambda path: Folder(str(path)).open("cpu"),
    "images.zip": lambda path: Folder(str(path)).open("cpu"),
    "images": lambda path: Folder(str(path)).open("cpu"),
    "cifar-10-python.tar.gz": lambda path: Cifar10(root=str(path)).open("cpu"),
}


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
@pytest.mark.parametrize("name", READERS)
def test_only_regular_files_are_opened(name: str, kind: str, tmp_path: Path):
    path = tmp_path / name
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises((ValueError, IsADirectoryError)) as error:
        READERS[name](path)
    assert "\n" not in str(error.value)


def test_a_cached_chunk_that_is_a_pipe_is_computed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    os.mkfifo(tmp_path / "00000000-00000002.safetensors")
    made = cached_chunk(tmp_path, range(2), lambda numbers: {"x": torch.ones(len(numbers))})
    assert torch.equal(made["x"], torch.ones(2))
    assert "is a pipe: expected a file" in capsys.readouterr().err


def test_a_file_longer_than_it_may_be_is_not_read_to_its_end(tmp_path: Path):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="is longer than 100 bytes"):
        read_bytes(tmp_path / "file", 100)
    with pytest.raises(ValueError, match=r"is longer than 1,048,576 bytes"):
        environment_of_file(tmp_path / "file")


def environment_of_file(file: Path) -> None:
    file.rename(file.with_name("environment.json"))
    previous_environment(file.parent)


def test_statistics_that_claim_more_than_any_has_are_not_unpacked(tmp_path: Path):
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("mu.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(9):
            file.write(bytes(2**26))
    with pytest.raises(ValueError, match=r"mu\.npy is longer than"):
        stats_file.load_stats(path)


@pytest.mark.parametrize("name", ["a" * 65_000 + "/0.png", "a/" * 32_500 + "0.png", "a" * 256 + "/0.png"])
def test_a_zip_with_names_that_no_file_has_is_refused(name: str, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for part in range(3):
            archive.writestr(f"{part}{name}", b"")
    with pytest.raises(ValueError, match="is longer than a file's can be") as error:
        Folder(str(tmp_path / "images.zip")).open("cpu")
    assert len(str(error.value)) < 500


def test_class_names_are_bounded_and_of_one_line(pipeline: Path, tmp_path: Path):
    images, labels = np.zeros((2, 8, 8, 3), np.uint8), np.arange(2)
    np.savez(tmp_path / "long.npz", images=images, labels=labels, class_names=np.array(["a" * 65_000, "b"]))
    with pytest.raises(ValueError, match="is longer than 255 letters"):
        Folder(str(tmp_path / "long.npz")).open("cpu")

    file = checkpoint.list_checkpoints(pipeline / "checkpoints")[-1]
    data, tensors = checkpoint.read_data(file), checkpoint.read_tensors(file)
    names = ["\n" * 500, "\x1b]0;title\x07", *data["class_names"][2:]]
    about = load_info(checkpoint.save_checkpoint(tmp_path / "lines", 16, tensors, data | {"class_names": names}))
    assert all(name.isprintable() for name in about.class_names)
    long = checkpoint.save_checkpoint(
        tmp_path / "long", 16, tensors, data | {"class_names": ["\n" * 65_000, *names[1:]]}
    )
    with pytest.raises(ValueError, match="is longer than 2550 characters"):
        load_info(long)


def test_a_sheet_does_not_grow_with_what_its_labels_hold():
    width, height = extent(["a" * 10**6, "\n" * 10**5, "猫" * 200], 13)
    assert (width, height) < (4000, 100)


@pytest.mark.parametrize("schedule", [LinearBeta, ScaledLinearBeta, Cosine, lambda T: ZeroTerminalSnr(LinearBeta(T))])
@pytest.mark.parametrize("T", [0, -1, 10**6 + 1, 10**18])
def test_steps_are_bounded_before_memory_is_taken_for_them(schedule: Callable[[int], Schedule], T: int):
    with pytest.raises(ValueError, match=r"expected 1 to 1,000,000 steps"):
        schedule(T)
    if T > 1:
        with pytest.raises(ValueError, match=r"sampling steps \d+: expected 1 to 1,000,000 steps"):
            sampling_levels(Cosine(), T)


def test_output_has_no_control_characters(capsys: pytest.CaptureFixture[str]):
    terminal.echo("\x1b[31mred\r\x07 é 猫\u202e\udcff\nline")
    assert capsys.readouterr().out == "\\x1b[31mred\\r\\x07 é 猫\\u202e\\udcff\nline\n"


def test_messages_from_files_reach_the_terminal_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, content in (
        ("recipe.toml", 'target = "\\u001b]0;title\\u0007"'),
        ("\x1b[2Jrecipe.json", json.dumps({"\x1b[2J": 1})),
    ):
        (tmp_path / name).write_text(content)
        assert main(["train", str(tmp_path / name)]) == 2
    report = {"name": "\x1b[2J", "protocol": {"\x1b]0;x\x07": 1}}
    (tmp_path / "scores.json").write_text(json.dumps({"reports": [report]}))
    assert main(["compare", str(tmp_path / "scores.json"), str(tmp_path / "scores.json")]) == 2
    output = capsys.readouterr()
    assert "\x1b" not in output.out + output.err
    assert "\x07" not in output.out + output.err


def test_the_holder_of_a_run_is_shown_without_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "lock").write_text("\x1b[2Jsomebody")
    with suppress(ValueError), exclusive(tmp_path):
        assert "\\x1b[2Jsomebody" in capsys.readouterr().out
        file = os.open(tmp_path / "lock", os.O_RDWR)
        os.write(file, b"\x1b[2Jnobody")
        os.close(file)
        with pytest.raises(ValueError, match=r"in use by \\x1b\[2Jnobody"), exclusive(tmp_path):
            pass


def test_everything_is_printed_by_echo():
    source = Path(terminal.__file__).parents[1]
    calls = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    exported = "interop/onnx_files/draw.py"  # copied beside a model, where it runs without limpid
    assert calls == {"runtime/terminal.py", exported}


def test_a_file_that_is_written_in_place_is_made_if_it_is_not_there(tmp_path: Path):
    for _ in range(2):
        os.close(open_unlinked(tmp_path / "file", os.O_WRONLY))
    assert (tmp_path / "file").read_bytes() == b""
