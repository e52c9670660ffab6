"""Runs in W&B, read back from its offline files and by a server, are equal to the log."""

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_recipes import CPU, TINY
from tracked_runs import logged
from wandb_server import WandbServer, wandb_server

from limpid.interop import wandb_run
from limpid.interop.run_history import RunHistory
from limpid.interop.wandb_run import WandbRun
from limpid.recipes.recipe import Every
from limpid.training.run import run
from limpid.training.trackers import Tracker

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.usefixtures("no_final_figures")]


@pytest.fixture
def wandb_online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    import wandb

    wandb.teardown()  # forget the environment of an earlier test
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", 40 * "a")
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
        monkeypatch.delenv("WANDB_MODE", raising=False)
        yield server


def test_the_offline_files_of_wandb_have_each_line_and_grid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    recipe = replace(TINY, duration=48, every=Every(log=16, sample=32, save=0))
    assert run(recipe, folder, CPU, callbacks=[Tracker("wandb", folder)])
    sent = [line for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")) for line in wandb_lines(file)]
    assert [(line["images_seen"], np.float32(line["loss"])) for line in sent if "loss" in line] == logged(
        folder, "loss"
    )
    grids = [line["samples.sha256"] for line in sent if "samples.sha256" in line]
    assert len(grids) == len(set(grids)) == len(list((folder / "samples").glob("0*.png")))


def test_a_server_of_wandb_gets_each_line_and_grid_once_also_when_a_run_is_resumed(
    wandb_online: WandbServer, tmp_path: Path
):
    grid = tmp_path / "grid.png"
    Image.new("RGB", (4, 4), "red").save(grid)
    lines = [{"images_seen": seen, "loss": seen / 64} for seen in (16, 32, 48, 64, 80)]
    for duration, known, added in ((64, lines[:2], lines[2]), (80, lines[:4], lines[4])):
        sent = WandbRun(tmp_path / "run" / "wandb", RunHistory({"duration": duration}, "", known, {32: grid}))
        sent.add_line(added, added["images_seen"])
        sent.close()
    found = wandb_online.history
    assert [(line["images_seen"], line["loss"]) for line in found if "loss" in line] == [
        (line["images_seen"], line["loss"]) for line in lines
    ]
    assert [line["_step"] for line in found] == list(range(len(found)))
    grids = [content for path, content in wandb_online.files.items() if "/media/images/samples" in path]
    assert grids == [grid.read_bytes()]
    assert json.loads(wandb_online.config)["duration"]["value"] == 80


def test_a_server_of_wandb_that_does_not_answer_is_given_up(
    wandb_online: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(wandb_run, "SECONDS_OF_SILENCE", 1.0)
    wandb_online.silent = True
    with pytest.raises(Exception, match="deadline exceeded"):
        WandbRun(tmp_path / "run" / "wandb", RunHistory({}, "", [], {}))


def wandb_lines(file: Path) -> list[dict]:
    """The values in an offline file of W&B."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    lines = []
    for record in map(Record.FromString, wandb_records(file.read_bytes())):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            line = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
            lines.append(line)
    return lines


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of a file in the log format of LevelDB: blocks of 32 KiB, of parts with a checksum, length and kind,
    after a header of 7 bytes."""
    at, record = 7, b""
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # complete, or the last part
            yield record
            record = b""
