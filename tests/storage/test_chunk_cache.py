"""Pieces of work are done once."""

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from killable import LIVES
from safetensors.torch import save

from limpid.storage.chunk_cache import Chunk, cached_chunks, concat


def squares(done: list[range]) -> Callable[[range], Chunk]:
    def make(numbers: range) -> Chunk:
        done.append(numbers)
        return {"squares": torch.tensor(numbers) ** 2}

    return make


def test_chunks_are_read_from_the_cache(tmp_path: Path):
    done: list[range] = []
    first = concat(cached_chunks(tmp_path, 10, 4, squares(done)))
    again = concat(cached_chunks(tmp_path, 10, 4, squares(done)))
    assert done == [range(4), range(4, 8), range(8, 10)]
    assert torch.equal(first["squares"], torch.arange(10) ** 2)
    assert torch.equal(again["squares"], first["squares"])


def test_interrupted_work_resumes_at_the_next_chunk(tmp_path: Path):
    done: list[range] = []
    some = cached_chunks(tmp_path, 100, 4, squares(done))
    next(some)
    next(some)
    some.close()  # pyright: ignore[reportAttributeAccessIssue]
    concat(cached_chunks(tmp_path, 12, 4, squares(done)))
    assert done == [range(4), range(4, 8), range(8, 12)]


def test_a_larger_request_reuses_the_cached_chunks(tmp_path: Path):
    done: list[range] = []
    concat(cached_chunks(tmp_path, 10, 4, squares(done)))
    done.clear()
    assert torch.equal(concat(cached_chunks(tmp_path, 16, 4, squares(done)))["squares"], torch.arange(16) ** 2)
    assert done == [range(8, 12), range(12, 16)]


def flipped(data: bytes, spot: int) -> bytes:
    return data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-3],
        lambda data: b"\xff" * len(data),
        lambda data: flipped(data, len(data) - 8),
        lambda data: flipped(data, data.index(b"squares")),
        lambda data: flipped(data, data.index(b"sha256") + 12),
        lambda data: save({"squares": torch.arange(4)}),
    ],
    ids=["empty", "cut", "other bytes", "one bit", "a bit of its name", "a bit of its checksum", "without a checksum"],
)
def test_a_damaged_chunk_is_computed_again_with_a_warning(
    tmp_path: Path, spoil: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
):
    done: list[range] = []
    concat(cached_chunks(tmp_path, 4, 4, squares(done)))
    file = next(tmp_path.iterdir())
    file.write_bytes(spoil(file.read_bytes()))
    for _ in range(2):
        assert torch.equal(concat(cached_chunks(tmp_path, 4, 4, squares(done)))["squares"], torch.arange(4) ** 2)
    assert len(done) == 2
    output = capsys.readouterr().err.splitlines()
    assert len(output) == 1
    assert output[0].startswith(f"limpid: {file} ")
    assert output[0].endswith("its content is computed again")


def test_a_chunk_under_another_name_is_computed_again(tmp_path: Path):
    concat(cached_chunks(tmp_path, 8, 4, squares([])))
    one, other = sorted(tmp_path.iterdir())
    other.write_bytes(one.read_bytes())
    assert torch.equal(concat(cached_chunks(tmp_path, 8, 4, squares([])))["squares"], torch.arange(8) ** 2)


def test_a_cache_that_cannot_be_written_to_is_named_once_and_the_chunks_are_computed(tmp_path: Path, capsys):
    (tmp_path / "features").touch()
    found = concat(cached_chunks(tmp_path / "features" / "of", 10, 4, squares([])))
    assert torch.equal(found["squares"], torch.arange(10) ** 2)
    output = capsys.readouterr().err
    assert output == f"limpid: cannot write to the cache {tmp_path / 'features' / 'of'} (Not a directory): " + (
        "the next call computes everything again\n"
    )


def killed_while_it_writes(folder: Path) -> None:
    """The system kills who writes more than it allows."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    next(cached_chunks(folder, 1000, 1000, squares([])))


def test_partial_chunks_have_the_name_by_which_they_are_removed(tmp_path: Path):
    process = LIVES.Process(target=killed_while_it_writes, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGXFSZ
    assert len(list(tmp_path.glob("00000000-00001000.safetensors.????????.part"))) == len(list(tmp_path.iterdir())) == 1


def test_partial_chunks_of_a_process_killed_an_hour_ago_are_removed(tmp_path: Path):
    left = tmp_path / "00000000-00000009.safetensors.0123abcd.part"
    left.touch()
    os.utime(left, (time.time() - 4_000, time.time() - 4_000))
    concat(cached_chunks(tmp_path, 4, 4, squares([])))
    assert [path.name for path in tmp_path.iterdir()] == ["00000000-00000004.safetensors"]


def test_nothing_is_cached_without_a_folder():
    done: list[range] = []
    concat(cached_chunks(None, 4, 4, squares(done)))
    concat(cached_chunks(None, 4, 4, squares(done)))
    assert len(done) == 2
