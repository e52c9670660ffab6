"""A run on a disk that is full, refuses a file or has damaged the log loses no checkpoint."""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killable import LIVES
from run_results import equal_tensors, final_tensors, log_without_speed, same_run
from tiny_recipes import CPU, SHORT

from limpid.recipes.recipe import Recipe
from limpid.runtime.log import printed_log
from limpid.storage import jsonl
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


def train_with_small_files(folder: Path, output: Path, recipe: Recipe) -> None:
    """Train where no file may be larger than 100 kB; the exit code is 1 if the run ends with an error."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    with output.open("w", buffering=1) as sys.stderr, printed_log():
        try:
            run(recipe, folder, CPU)
        except OSError as error:
            print(f"ended: {error}", file=sys.stderr)
            sys.exit(1)


def test_a_run_that_cannot_save_continues_and_can_be_resumed_from_its_last_checkpoint(
    uninterrupted: Path, stopped: Path, tmp_path: Path
):
    output = tmp_path / "output.txt"
    saved_often = replace(SHORT, every=replace(SHORT.every, save=16))
    process = LIVES.Process(target=train_with_small_files, args=(stopped, output, saved_often))
    process.start()
    process.join()
    assert process.exitcode == 1
    first, last = output.read_text().splitlines()
    assert "cannot write a checkpoint ([Errno 27] File too large" in first
    assert first.endswith("training continues until the next")
    assert last.startswith("ended: cannot write a checkpoint ([Errno 27] File too large")
    assert last.endswith(f"the last good one is {stopped / 'checkpoints' / '000000000096.safetensors'}")
    assert list(stopped.rglob("*.part")) == []
    assert run(SHORT, stopped, CPU)
    assert same_run(stopped, uninterrupted)


FULL_DISK = """
import os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tiny_recipes import CPU, SHORT
from limpid.runtime.log import printed_log
from limpid.training.run import run
printing = printed_log()
printing.__enter__()
folder = Path(sys.argv[1], "run")
for options in ("size=1m", "size=5m", "ro", "rw,size=99m"):
    assert os.system(f"mount -o remount,{options} {sys.argv[1]}") == 0
    print("MOUNTED", options, flush=True)
    try:
        print("ENDED", run(SHORT, folder, CPU), flush=True)
    except OSError as error:
        print("REFUSED", error, flush=True)
    print("HAS", sorted(path.name for path in folder.glob("checkpoints/*")), flush=True)
"""


def test_a_full_disk_destroys_no_checkpoint(tmp_path: Path):
    """On a disk that is too small for one checkpoint, then for three, then read-only, then large enough."""
    mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"', str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("a disk cannot be mounted here")
    command = [*mount, sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    for_none, for_two, read_only, large = done.stdout.split("MOUNTED")[1:]
    checkpoints = f"{tmp_path}/run/checkpoints"
    full = rf"cannot write a checkpoint \(\[Errno 28\] No space left on device: '{checkpoints}/\d+\.safetensors'\); "
    assert re.search(f"REFUSED {full}the last good one is none", for_none), done.stderr
    assert "HAS []" in for_none
    assert re.search(f"REFUSED {full}the last good one is {checkpoints}/000000000032.safetensors", for_two)
    assert len(re.findall(f"{full}training continues until the next", done.stderr)) == 2
    assert "HAS ['000000000000.safetensors', '000000000032.safetensors']" in for_two
    assert "REFUSED [Errno 30] Read-only file system" in read_only
    assert "resuming after 32 images" in large
    assert "ENDED True" in large


def test_a_run_continues_when_its_log_cannot_be_written_for_a_while(
    uninterrupted: Path, tmp_path: Path, monkeypatch, capsys
):
    append, refused = jsonl.append, []

    def refuse_three_times(path: Path, content: bytes) -> None:
        if len(refused) < 3:  # a line, the same line before the checkpoint, and two lines
            refused.append(content)
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        append(path, content)

    monkeypatch.setattr(jsonl, "append", refuse_three_times)
    assert run(SHORT, tmp_path, CPU)
    assert capsys.readouterr().err.count("cannot write the log ([Errno 13] Permission denied); training continues") == 2
    assert log_without_speed(tmp_path) == log_without_speed(uninterrupted)


def test_a_damaged_line_of_the_log_is_set_aside_and_all_others_stay(stopped: Path, uninterrupted: Path, capsys):
    log = stopped / "log.jsonl"
    content = log.read_bytes()
    log.write_bytes(content.replace(b'{"images_seen": 64', b'{"images_seen"; 64'))
    capsys.readouterr()
    assert run(SHORT, stopped, CPU)
    error = capsys.readouterr().err
    assert error == f"limpid: {log} is damaged in line 2: moved to log.jsonl.aside; all other lines are intact\n"
    assert log_without_speed(stopped) == [
        line for line in log_without_speed(uninterrupted) if line["images_seen"] != 64
    ]
    assert b'{"images_seen"; 64' in (stopped / "log.jsonl.aside").read_bytes()


def test_a_run_continues_when_a_file_has_the_name_of_a_folder(uninterrupted: Path, tmp_path: Path, capsys):
    for name in ("samples", "snapshots"):
        (tmp_path / name).touch()
    every = replace(SHORT.every, sample=128, snapshot=128)
    assert run(replace(SHORT, every=every, ema_snapshots=(0.1,)), tmp_path, CPU)
    error = capsys.readouterr().err
    assert "cannot write the samples ([Errno 17] File exists" in error
    assert "cannot write an EMA snapshot ([Errno 20] Not a directory" in error
    weights = {name: value for name, value in final_tensors(tmp_path).items() if not name.startswith("power")}
    assert equal_tensors(weights, final_tensors(uninterrupted))
