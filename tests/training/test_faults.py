"""What goes wrong around a run and within it: full disks, broken files, wishes to stop, numbers that are none."""

import errno
import getpass
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killable import LIVES
from tiny_recipes import CPU, TINY

from limpid.cli.main import main
from limpid.recipes.recipe import Every, Recipe
from limpid.runtime.log import printed_log
from limpid.sampling import figures
from limpid.sampling.pipeline import load
from limpid.sampling.samples import Samples
from limpid.storage import checkpoint, jsonl
from limpid.storage.lock import exclusive
from limpid.training.loop import StepMetrics
from limpid.training.loss_log import LossLog
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")
SHORT = replace(
    TINY,
    duration=128,
    sampling=replace(TINY.sampling, steps=2),
    optimizer=replace(TINY.optimizer, warmup_images=0),
    every=Every(log=32, sample=0, save=32, snapshot=0),
)


def end(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of the last checkpoint."""
    file = checkpoint.latest(folder / "checkpoints")
    assert file is not None
    return checkpoint.read_tensors(file)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [line | {"images_per_second": 0} for line in jsonl.read_jsonl(folder / "log.jsonl")]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("faults") / "straight"
    assert run(SHORT, folder, CPU)
    return folder


@pytest.fixture(scope="module")
def after_96(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run as it was after 96 images, with two checkpoints."""
    folder = tmp_path_factory.mktemp("faults") / "run"
    with pytest.MonkeyPatch.context() as patch:
        at(96, lambda: signal.raise_signal(signal.SIGINT), patch)
        assert not run(SHORT, folder, CPU)
    assert [int(file.stem) for file in checkpoint.list_checkpoints(folder / "checkpoints")] == [64, 96]
    return folder


@pytest.fixture
def stopped(after_96: Path, tmp_path: Path) -> Path:
    """A copy of it, for a test to spoil."""
    return shutil.copytree(after_96, tmp_path / "run")


def at(seen: int, act: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Do something when a run writes the line of its log after so many images."""
    tell = LossLog.write_line

    def telling(self: LossLog, step: StepMetrics) -> None:
        if step.images_seen == seen:
            act()
        return tell(self, step)

    patch.setattr(LossLog, "write_line", telling)


# Broken files


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint."""
    tensors = {"a": torch.randn(3, 5), "b": torch.arange(4), "half": torch.ones(3, dtype=torch.float16)}
    tensors |= {"empty": torch.zeros(0, 2), "one": torch.tensor(2.5), "yes": torch.tensor([True])}
    return checkpoint.save_checkpoint(
        tmp_path_factory.mktemp("whole"), 1, tensors, {"images_seen": 1, "said": 'a "quoted" \n word'}
    )


def test_no_flipped_bit_goes_unnoticed(intact: Path, tmp_path: Path):
    content = intact.read_bytes()
    broken = tmp_path / "1.safetensors"
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        broken.write_bytes(changed)
        with pytest.raises(ValueError, match="is not an intact checkpoint of limpid"):
            checkpoint.read_data(broken)


def test_no_missing_or_additional_byte_goes_unnoticed(intact: Path, tmp_path: Path):
    content = intact.read_bytes()
    broken = tmp_path / "1.safetensors"
    for changed in [content[:length] for length in range(len(content))] + [content + b"0"]:
        broken.write_bytes(changed)
        with pytest.raises(ValueError, match="is not an intact checkpoint of limpid"):
            checkpoint.read_tensors(broken)


def test_equal_tensors_make_equal_files_in_whatever_order_they_come(intact: Path, tmp_path: Path):
    tensors = checkpoint.read_tensors(intact)
    again = checkpoint.save_checkpoint(tmp_path, 1, dict(reversed(tensors.items())), checkpoint.read_data(intact))
    assert again.read_bytes() == intact.read_bytes()


def test_a_header_of_any_length_takes_bounded_memory(tmp_path: Path):
    path = tmp_path / "1.safetensors"
    with path.open("wb") as file:
        file.write((1 << 40).to_bytes(8, "little"))
        file.truncate(1 << 41)
    with pytest.raises(ValueError, match="does not begin like a safetensors file"):
        checkpoint.read_data(path)


@pytest.mark.parametrize("how", ["cut", "flipped", "foreign", "folder"])
def test_a_broken_checkpoint_is_named_and_the_one_before_is_used(how: str, stopped: Path, straight: Path, capsys):
    newest = stopped / "checkpoints" / "000000000096.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.unlink()
    if how == "folder":
        newest.mkdir()
    else:
        newest.write_bytes({"cut": content[:-100], "flipped": content, "foreign": b"PK" + bytes(200)}[how])
    capsys.readouterr()
    assert run(SHORT, stopped, CPU)
    out, message = capsys.readouterr()
    assert message.count("\n") == 1
    assert f"{newest} is not an intact checkpoint of limpid" in message
    assert "resuming after 64 images" in out
    assert newest.with_suffix(".broken").exists()
    assert same(end(stopped), end(straight))
    assert lines(stopped) == lines(straight)


def rename(stopped: Path) -> None:
    oldest = stopped / "checkpoints" / "000000000064.safetensors"
    shutil.copy(oldest, oldest.with_name("000000009999.safetensors"))


def another(stopped: Path, recipe: Recipe) -> None:
    """The checkpoint of a run of another recipe, as if it were that after 112 images."""
    with pytest.MonkeyPatch.context() as patch:
        at(112, lambda: signal.raise_signal(signal.SIGINT), patch)
        often = replace(recipe, every=replace(recipe.every, log=16, save=0))
        assert not run(often, stopped / "other", CPU)
    newest = checkpoint.latest(stopped / "other" / "checkpoints")
    assert newest is not None
    newest.rename(stopped / "checkpoints" / newest.name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (rename, "000000009999.safetensors was renamed: it was saved after 64 images"),
        (
            lambda folder: another(folder, replace(SHORT, seed=1)),
            "000000000112.safetensors is of a run of another recipe (seed 1 -> 0)",
        ),
        (lambda folder: another(folder, replace(SHORT, duration=256)), "000000000112.safetensors is of run "),
    ],
    ids=["renamed", "another recipe", "a longer run of the same recipe"],
)
def test_a_checkpoint_that_is_not_of_this_run_is_named_and_set_aside(
    spoil: Callable[[Path], None], message: str, stopped: Path, straight: Path, capsys
):
    spoil(stopped)
    capsys.readouterr()
    assert run(SHORT, stopped, CPU)
    out, errors = capsys.readouterr()
    assert errors.count("\n") == 1
    assert message in errors
    assert "resuming after 96 images" in out
    assert len(list((stopped / "checkpoints").glob("*.aside"))) == 1
    assert same(end(stopped), end(straight))
    assert lines(stopped) == lines(straight)


def test_a_folder_without_its_recipe_is_still_of_the_run_that_its_checkpoints_are_of(stopped: Path, straight: Path):
    recipe = stopped / "recipe.json"
    recipe.unlink()
    with pytest.raises(ValueError, match=r"000000000096.safetensors is of a run of another recipe \(seed 0 -> 1\)"):
        run(replace(SHORT, seed=1), stopped, CPU)
    assert not recipe.exists()
    assert [int(file.stem) for file in checkpoint.list_checkpoints(stopped / "checkpoints")] == [64, 96]
    assert run(SHORT, stopped, CPU)
    assert same(end(stopped), end(straight))


def test_a_run_that_was_made_longer_is_still_the_same_run(tmp_path: Path):
    for images in (64, 128):
        assert run(replace(SHORT, duration=images), tmp_path, CPU, allow_rewarm=True)
    files = checkpoint.list_checkpoints(tmp_path / "checkpoints")
    assert len({checkpoint.read_data(file)["run_id"] for file in files}) == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_checkpoint_that_cannot_be_read_for_a_moment_is_left_as_it_is(
    number: int, stopped: Path, straight: Path, monkeypatch
):
    newest = stopped / "checkpoints" / "000000000096.safetensors"

    def refuse(path: Path, *_: int) -> None:
        raise OSError(number, os.strerror(number), str(path))

    before = {path: path.read_bytes() for path in sorted(stopped.rglob("*")) if path.is_file() and path.name != "lock"}
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_verify", refuse)
        with pytest.raises(OSError, match=f"cannot read {newest}, which may be intact") as error:
            run(SHORT, stopped, CPU)
    assert error.value.errno == number
    assert before == {path: path.read_bytes() for path in before}
    assert list(stopped.rglob("*.broken")) == []
    assert run(SHORT, stopped, CPU)
    assert same(end(stopped), end(straight))


def test_a_run_whose_checkpoints_are_all_broken_is_not_begun_anew(stopped: Path):
    for file in checkpoint.list_checkpoints(stopped / "checkpoints"):
        file.write_bytes(b"")
    before = (stopped / "log.jsonl").read_bytes()
    with pytest.raises(ValueError, match="there is no older one to resume from: move them away to start anew"):
        run(SHORT, stopped, CPU)
    assert (stopped / "log.jsonl").read_bytes() == before


def test_the_beginning_is_no_progress_to_go_back_to(tmp_path: Path):
    checkpoint.save_checkpoint(tmp_path, 0, {}, {})
    checkpoint.save_checkpoint(tmp_path, 64, {}, {}).write_bytes(b"")
    with pytest.raises(ValueError, match="move them away to start anew"):
        checkpoint.latest(tmp_path)


@pytest.mark.parametrize(
    "command", [["sample"], ["likelihood"], ["edit", "img2img"], ["show", "trajectory"]], ids=lambda words: words[0]
)
def test_a_command_on_a_broken_checkpoint_gets_one_clear_line(command: list[str], stopped: Path, capsys):
    for file in checkpoint.list_checkpoints(stopped / "checkpoints"):
        file.write_bytes(file.read_bytes()[:-1])
    capsys.readouterr()
    assert main([*command, str(stopped)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "000000000096.safetensors is not an intact checkpoint of limpid: its checksum differs" in message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "its data needs its field "),
        ({"images_seen": "many"}, "its data.images_seen is 'many': expected a whole number"),
        ({"shape": [1, 8]}, r"its data.image_shape is \[1, 8\]: expected 3 values"),
        ({"names": 3}, "its data.class_names is 3: expected a list"),
        ({"recipe": {"batch": None}}, "its data.recipe.batch_size is None"),
        ({"recipe": {"network": {"attention": [3]}}}, "no feature map has resolution 3"),
        ({"recipe": {"network": {"attention": [], "width": 1 << 20}}}, "does not fit: .* not those of its recipe"),
    ],
)
def test_a_checkpoint_that_says_what_cannot_be_is_one_clear_line(
    data: dict, message: str, straight: Path, tmp_path: Path
):
    file = checkpoint.latest(straight / "checkpoints")
    assert file is not None
    plain = checkpoint.read_data(file) | data if data else {}
    forged = checkpoint.save_checkpoint(tmp_path, 1, checkpoint.read_tensors(file), plain)
    with pytest.raises(ValueError, match=message) as error:
        load(forged, runtime=CPU)
    assert str(forged) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_killed_run_had_begun_to_write_is_removed(stopped: Path):
    begun = [stopped / "checkpoints" / "000000000128.safetensors.part", stopped / "samples" / "000000000080.png.part"]
    strange = stopped / "film.part"
    for path in (*begun, strange):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    run(SHORT, stopped, CPU)
    assert not any(path.exists() for path in begun)
    assert strange.exists()


def test_milestones_stay(tmp_path: Path):
    run(replace(SHORT, every=replace(SHORT.every, save=16, milestone=48)), tmp_path, CPU)
    assert [int(file.stem) for file in checkpoint.list_checkpoints(tmp_path / "checkpoints")] == [48, 96, 112, 128]


# Disks that refuse


def limited(folder: Path, message: Path, recipe: Any) -> None:
    """Train where no file may be larger than 100 kB; how it ended is the exit code."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    with message.open("w", buffering=1) as sys.stderr, printed_log():
        try:
            run(recipe, folder, CPU)
        except OSError as error:
            print(f"ended: {error}", file=sys.stderr)
            sys.exit(1)


def test_a_run_that_cannot_save_goes_on_and_ends_with_its_last_good_state(
    straight: Path, stopped: Path, tmp_path: Path
):
    message = tmp_path / "said.txt"
    often = replace(SHORT, every=replace(SHORT.every, save=16))
    process = LIVES.Process(target=limited, args=(stopped, message, often))
    process.start()
    process.join()
    assert process.exitcode == 1
    first, last = message.read_text().splitlines()
    assert "cannot write a checkpoint ([Errno 27] File too large" in first
    assert first.endswith("training continues until the next")
    assert last.startswith("ended: cannot write a checkpoint ([Errno 27] File too large")
    assert last.endswith(f"the last good one is {stopped / 'checkpoints' / '000000000096.safetensors'}")
    assert list(stopped.rglob("*.part")) == []
    assert run(SHORT, stopped, CPU)
    assert same(end(stopped), end(straight))
    assert lines(stopped) == lines(straight)


FULL_DISK = """
import os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from test_faults import SHORT, CPU, run, checkpoint, printed_log
printing = printed_log()
printing.__enter__()
folder = Path(sys.argv[1], "run")
for how in ("size=1m", "size=5m", "ro", "rw,size=99m"):
    assert os.system(f"mount -o remount,{how} {sys.argv[1]}") == 0
    print("MOUNTED", how, flush=True)
    try:
        print("ENDED", run(SHORT, folder, CPU), flush=True)
    except OSError as error:
        print("REFUSED", error, flush=True)
    print("HAS", sorted(path.name for path in folder.glob("checkpoints/*")), flush=True)
"""


def test_a_full_disk_takes_nothing_away(tmp_path: Path):
    """A disk of its own, too small for one checkpoint, for three at a time, not to be written to, and large enough."""
    mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"', str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("no disk of its own can be mounted here")
    command = [*mount, sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    small, tight, closed, large = done.stdout.split("MOUNTED")[1:]
    checkpoints = f"{tmp_path}/run/checkpoints"
    full = rf"cannot write a checkpoint \(\[Errno 28\] No space left on device: '{checkpoints}/\d+\.safetensors'\); "
    assert re.search(f"REFUSED {full}the last good one is none", small), done.stderr
    assert "HAS []" in small
    assert re.search(f"REFUSED {full}the last good one is {checkpoints}/000000000032.safetensors", tight)
    assert len(re.findall(f"{full}training continues until the next", done.stderr)) == 2
    assert "HAS ['000000000000.safetensors', '000000000032.safetensors']" in tight
    assert "REFUSED [Errno 30] Read-only file system" in closed
    assert "resuming after 32 images" in large
    assert "ENDED True" in large


def refuse(*_: object) -> int:
    """What a full disk answers."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_log_line_that_the_disk_refuses_is_written_with_the_next(tmp_path: Path, monkeypatch):
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(OSError, match="No space left"):
            log.add({"images_seen": 1})
    log.add({"images_seen": 2})
    assert jsonl.read_jsonl(log.path) == [{"images_seen": 1}, {"images_seen": 2}]


def test_a_log_line_that_is_half_written_is_taken_back(tmp_path: Path, monkeypatch):
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    log.add({"images_seen": 1})
    write = os.write

    def half(file: int, content: bytes) -> int:
        if len(content) < 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, content[: len(content) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space left"):
            log.add({"images_seen": 2})
    assert log.path.read_bytes() == b'{"images_seen": 1}\n'
    log.add({"images_seen": 3})
    assert [line["images_seen"] for line in jsonl.read_jsonl(log.path)] == [1, 2, 3]


def test_a_run_goes_on_when_its_log_is_refused_for_a_while(straight: Path, tmp_path: Path, monkeypatch, capsys):
    append, refused = jsonl.append, []

    def refusing(path: Path, content: bytes) -> None:
        if len(refused) < 3:  # a line, the same before the checkpoint, and both lines
            refused.append(content)
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        append(path, content)

    monkeypatch.setattr(jsonl, "append", refusing)
    assert run(SHORT, tmp_path, CPU)
    assert capsys.readouterr().err.count("cannot write the log ([Errno 13] Permission denied); training continues") == 2
    assert lines(tmp_path) == lines(straight)


def test_a_damaged_line_of_the_log_costs_no_other(stopped: Path, straight: Path, capsys):
    log = stopped / "log.jsonl"
    content = log.read_bytes()
    log.write_bytes(content.replace(b'{"images_seen": 64', b'{"images_seen"; 64'))
    capsys.readouterr()
    assert run(SHORT, stopped, CPU)
    message = capsys.readouterr().err
    assert message == f"limpid: {log} is damaged in line 2: moved to log.jsonl.aside; all other lines are intact\n"
    assert lines(stopped) == [line for line in lines(straight) if line["images_seen"] != 64]
    assert b'{"images_seen"; 64' in (stopped / "log.jsonl.aside").read_bytes()


def test_a_run_goes_on_when_a_file_stands_where_a_folder_should(straight: Path, tmp_path: Path, capsys):
    for name in ("samples", "snapshots"):
        (tmp_path / name).touch()
    every = replace(SHORT.every, sample=128, snapshot=128)
    assert run(replace(SHORT, every=every, ema_snapshots=(0.1,)), tmp_path, CPU)
    message = capsys.readouterr().err
    assert "cannot write the samples ([Errno 17] File exists" in message
    assert "cannot write an EMA snapshot ([Errno 20] Not a directory" in message
    weights = {name: value for name, value in end(tmp_path).items() if not name.startswith("power")}
    assert same(weights, end(straight))


# Wishes to stop


def test_sigterm_saves_after_its_step(straight: Path, tmp_path: Path, monkeypatch):
    with monkeypatch.context() as patch:
        at(64, lambda: signal.raise_signal(signal.SIGTERM), patch)
        assert not run(replace(SHORT, every=replace(SHORT.every, save=0)), tmp_path, CPU)
    assert [int(file.stem) for file in checkpoint.list_checkpoints(tmp_path / "checkpoints")] == [0, 64]
    assert run(SHORT, tmp_path, CPU)
    assert same(end(tmp_path), end(straight))


def test_a_second_wish_to_stop_ends_the_run_at_once(tmp_path: Path, monkeypatch):
    def twice() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    at(64, twice, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(SHORT, tmp_path, CPU)
    assert [int(file.stem) for file in checkpoint.list_checkpoints(tmp_path / "checkpoints")] == [0, 32]
    with exclusive(tmp_path):
        pass  # nobody holds it any more


def test_a_stop_request_interrupts_sampling_and_the_grid_is_made_on_resume(tmp_path: Path, monkeypatch):
    drawing = replace(SHORT, every=replace(SHORT.every, sample=64, save=0))
    draw, folder, straight = figures.preview_samples, tmp_path / "run", tmp_path / "straight"
    assert run(drawing, straight, CPU)
    with monkeypatch.context() as patch:

        def interrupted_sampling(*args: Any) -> Samples:
            signal.raise_signal(signal.SIGTERM)
            return draw(*args)

        patch.setattr(figures, "preview_samples", interrupted_sampling)
        assert not run(drawing, folder, CPU)
    assert [int(file.stem) for file in checkpoint.list_checkpoints(folder / "checkpoints")] == [0, 64]
    assert list((folder / "samples").glob("*")) == []
    assert run(drawing, folder, CPU)
    for name in ("000000000064.png", "000000000128.png"):
        assert (folder / "samples" / name).read_bytes() == (straight / "samples" / name).read_bytes()


def test_what_goes_wrong_while_it_draws_costs_nothing_that_was_learnt(straight: Path, tmp_path: Path, monkeypatch):
    drawing = replace(SHORT, every=replace(SHORT.every, sample=64, save=64))
    with monkeypatch.context() as patch:
        patch.setattr(figures, "preview_samples", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(drawing, tmp_path, CPU)
    assert [int(file.stem) for file in checkpoint.list_checkpoints(tmp_path / "checkpoints")] == [0, 64]
    assert run(drawing, tmp_path, CPU)
    assert (tmp_path / "samples" / "000000000064.png").exists()
    assert same(end(tmp_path), end(straight))


def test_sighup_saves_and_never_ends_a_run_at_once(straight: Path, tmp_path: Path, monkeypatch):
    def hang_up() -> None:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        at(64, hang_up, patch)
        assert not run(replace(SHORT, every=replace(SHORT.every, save=0)), tmp_path, CPU)
    assert [int(file.stem) for file in checkpoint.list_checkpoints(tmp_path / "checkpoints")] == [0, 64]
    assert run(SHORT, tmp_path, CPU)
    assert same(end(tmp_path), end(straight))


def test_under_nohup_a_terminal_that_closes_stops_nothing(tmp_path: Path, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        at(64, lambda: signal.raise_signal(signal.SIGHUP), monkeypatch)
        assert run(SHORT, tmp_path, CPU)
    finally:
        signal.signal(signal.SIGHUP, before)


# Words that nobody takes

COMMAND = [sys.executable, "-m", "limpid", "train", "demo", "--batch-size", "8", "--every.log", "8", "--threads", "1"]


@pytest.mark.parametrize("where", ["broken pipe", "full disk", "closed", "ascii"])
def test_a_run_goes_on_when_nobody_takes_its_words(where: str, straight: Path, tmp_path: Path, monkeypatch):
    out, into = os.pipe()
    if where == "full disk":
        os.dup2(os.open("/dev/full", os.O_WRONLY), into)
    stream = os.fdopen(into, "w", buffering=1, encoding="ascii")
    if where == "broken pipe":
        os.close(out)
    folder = tmp_path / "ö"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        if where == "closed":
            stream.close()
        assert run(SHORT, folder, CPU)
        assert sys.stdout is stream
    with suppress(OSError):
        stream.close()
    assert same(end(folder), end(straight))
    assert lines(folder) == lines(straight)


def test_a_command_whose_reader_has_gone_trains_to_its_end(tmp_path: Path):
    few = ["--images", "32", "--network.model-channels", "16", "--sampling.steps", "2"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*COMMAND, *few, "--run", str(tmp_path)], stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert [int(file.stem) for file in checkpoint.list_checkpoints(tmp_path / "checkpoints")] == [0, 32]
    assert (tmp_path / "samples.png").exists()


def heed_hangup() -> None:
    """Undo what nohup does, if the tests run under it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_run_whose_terminal_closes_saves(tmp_path: Path):
    terminal, inside = os.openpty()
    command = [*COMMAND, "--network.model-channels", "16", "--run", str(tmp_path)]
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=inside, stdout=inside, stderr=inside, preexec_fn=heed_hangup
    )
    os.close(inside)
    message = b""
    while b"images/s" not in message:
        message += os.read(terminal, 1000)
    os.close(terminal)
    assert process.wait(120) == 130
    newest = checkpoint.latest(tmp_path / "checkpoints")
    assert newest is not None
    assert int(newest.stem) > 0


@pytest.mark.parametrize(
    ("where", "code", "message"), [("/dev/full", 1, "limpid: [Errno 28] No space left"), ("|", 0, "")]
)
def test_a_command_whose_answer_nobody_takes_says_so_unless_its_reader_has_gone(where: str, code: int, message: str):
    command = [sys.executable, "-m", "limpid", "recipes"]
    out, into = os.pipe()
    os.close(out)
    if where != "|":
        os.dup2(os.open(where, os.O_WRONLY), into)
    done = subprocess.run(command, stdout=into, stderr=subprocess.PIPE, text=True)
    os.close(into)
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == code


# Two at once


def hold(folder: Path, held: Any, enough: Any) -> None:
    with exclusive(folder):
        held.set()
        enough.wait(60)


def test_a_second_process_on_a_folder_is_refused_with_its_holder(tmp_path: Path, capsys):
    held, enough = LIVES.Event(), LIVES.Event()
    process = LIVES.Process(target=hold, args=(tmp_path, held, enough))
    process.start()
    assert held.wait(60)
    assert main(["train", "demo", "--run", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert (
        f"{tmp_path} is in use by {getpass.getuser()} on {socket.gethostname()}, pid {process.pid}, since 2" in message
    )
    assert message.count("\n") == 1
    process.kill()
    process.join()
    with exclusive(tmp_path):
        assert f"was in use by {getpass.getuser()}" in capsys.readouterr().out
        with pytest.raises(ValueError, match=f"in use by .* pid {os.getpid()}"), exclusive(tmp_path):
            pass
    with exclusive(tmp_path):
        assert capsys.readouterr().out == ""


def test_a_child_of_the_process_does_not_hold_the_folder_on(tmp_path: Path):
    """A worker that reads images may outlive a run that was killed."""
    errors, tell = os.pipe()
    with exclusive(tmp_path):
        child = os.fork()
        if child == 0:
            os.write(tell, b"I am here")
            time.sleep(60)
            os._exit(0)
        os.read(errors, 1)
    try:
        with exclusive(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(errors)
        os.close(tell)
