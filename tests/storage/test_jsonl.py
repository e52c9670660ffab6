"""A log whose lines are damaged or cannot be written loses no other line."""

import errno
import os
from pathlib import Path

import pytest

from limpid.storage import jsonl


def refuse(*_: object) -> int:
    """Fail as a write to a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def add_to_full_disk(log: jsonl.JsonlLog, images_seen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a line whose write fails."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(OSError, match="No space left"):
            log.add({"images_seen": images_seen})


def test_a_log_line_that_the_disk_refuses_is_written_with_the_next(tmp_path: Path, monkeypatch):
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    add_to_full_disk(log, 1, monkeypatch)
    log.add({"images_seen": 2})
    assert jsonl.read_jsonl(log.path) == [{"images_seen": 1}, {"images_seen": 2}]


def test_a_half_written_log_line_is_removed(tmp_path: Path, monkeypatch):
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    log.add({"images_seen": 1})
    write = os.write

    def write_half(file: int, content: bytes) -> int:
        if len(content) < 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, content[: len(content) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_half)
        with pytest.raises(OSError, match="No space left"):
            log.add({"images_seen": 2})
    assert log.path.read_bytes() == b'{"images_seen": 1}\n'
    log.add({"images_seen": 3})
    assert [line["images_seen"] for line in jsonl.read_jsonl(log.path)] == [1, 2, 3]


def test_the_log_is_cut_where_a_run_is_resumed(tmp_path: Path):
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    for images_seen in (10, 20, 30):
        log.add({"images_seen": images_seen})
    with log.path.open("a") as file:
        file.write('{"images_seen": 4')
    log.cut(20)
    assert log.lines() == jsonl.read_jsonl(log.path) == [{"images_seen": 10}, {"images_seen": 20}]


@pytest.mark.parametrize(
    "damage",
    [
        b'{"images_seen": 30',
        b"\0" * 20,
        b"\0" * 20 + b"\n",
        b"[]\n",
        b"\xff\n",
        b'{"loss": 1}\n',
        b"[" * 9999 + b"\n",
        b'{"images_seen": 30, "loss": "1"}\n',
        b'{"images_seen": 30, "loss": null}\n',
        b'{"images_seen": true}\n',
        b'{"images_seen": 3e1}\n',
        b'{"images_seen": 30, "lo3s": 1, "rate": 1}\n',
        b'{"images_seen": 30, "loss": 1, "loss_by_logsnr": {"6..": []}}\n',
        b'{"images_seen": 30, "loss": ' + b"9" * 400 + b"}\n",
    ],
)
def test_damaged_lines_of_a_log_are_skipped(damage: bytes, tmp_path: Path):
    """As after a power cut, when the disk lacks the end of what was written."""
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    log.add({"images_seen": 10})
    with log.path.open("ab") as file:
        file.write(damage)
    assert jsonl.read_jsonl(log.path) == log.lines() == [{"images_seen": 10}]


def test_a_flipped_bit_in_the_log_loses_no_other_line(tmp_path: Path, capsys):
    lines = [{"images_seen": images_seen, "loss": 0.5, "loss_by_logsnr": {"6..": 1.5}} for images_seen in (10, 20, 30)]
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    for line in lines:
        log.add(line)
    content = log.path.read_bytes()
    first, second = (content.index(b'{"images_seen": ' + number) for number in (b"20", b"30"))
    for position in range(first, second - 1):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            log.path.write_bytes(damaged)
            remaining = log.lines()
            assert (remaining[0], remaining[-1]) == (lines[0], lines[2])
    log.path.write_bytes(content.replace(b'{"images_seen": 20', b'["images_seen": 20'))
    log.cut(30)
    assert jsonl.read_jsonl(log.path) == [lines[0], lines[2]]
    assert (tmp_path / "log.jsonl.aside").read_bytes() == content[first:second].replace(b"{", b"[", 1)
    assert capsys.readouterr().err == (
        f"limpid: {log.path} is damaged in line 2: moved to log.jsonl.aside; all other lines are intact\n"
    )


def test_lines_that_wait_for_the_disk_survive_a_rollback(tmp_path: Path, monkeypatch):
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    log.add({"images_seen": 10})

    with monkeypatch.context() as patch:
        patch.setattr(jsonl, "append", refuse)
        patch.setattr(jsonl, "durable_write", refuse)
        for act in (lambda: log.add({"images_seen": 20}), lambda: log.add({"images_seen": 30}), lambda: log.cut(20)):
            with pytest.raises(OSError, match="No space left"):
                act()
        log.sync()
    assert log.lines() == [{"images_seen": 10}, {"images_seen": 20}]
    log.add({"images_seen": 25})
    assert jsonl.read_jsonl(log.path) == log.lines() == [{"images_seen": 10}, {"images_seen": 20}, {"images_seen": 25}]


def test_lines_that_wait_are_written_before_a_checkpoint(tmp_path: Path, monkeypatch):
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    add_to_full_disk(log, 10, monkeypatch)
    log.sync()
    assert jsonl.read_jsonl(log.path) == [{"images_seen": 10}]
