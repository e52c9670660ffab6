"""A checkpoint gives back what was saved, and damage of any byte is detected."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from limpid.storage import checkpoint


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint."""
    tensors = {"a": torch.randn(3, 5), "b": torch.arange(4), "half": torch.ones(3, dtype=torch.float16)}
    tensors |= {"empty": torch.zeros(0, 2), "one": torch.tensor(2.5), "yes": torch.tensor([True])}
    return checkpoint.save_checkpoint(
        tmp_path_factory.mktemp("intact"), 1, tensors, {"images_seen": 1, "said": 'a "quoted" \n word'}
    )


def test_every_flipped_bit_is_detected(intact: Path, tmp_path: Path):
    content = intact.read_bytes()
    broken = tmp_path / "1.safetensors"
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        broken.write_bytes(changed)
        with pytest.raises(ValueError, match="is not an intact checkpoint of limpid"):
            checkpoint.read_data(broken)


def test_every_missing_or_additional_byte_is_detected(intact: Path, tmp_path: Path):
    content = intact.read_bytes()
    broken = tmp_path / "1.safetensors"
    for changed in [content[:length] for length in range(len(content))] + [content + b"0"]:
        broken.write_bytes(changed)
        with pytest.raises(ValueError, match="is not an intact checkpoint of limpid"):
            checkpoint.read_tensors(broken)


def test_equal_tensors_make_equal_files_in_any_order(intact: Path, tmp_path: Path):
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


def test_the_checkpoint_of_zero_images_does_not_replace_a_broken_one(tmp_path: Path):
    checkpoint.save_checkpoint(tmp_path, 0, {}, {})
    checkpoint.save_checkpoint(tmp_path, 64, {}, {}).write_bytes(b"")
    with pytest.raises(ValueError, match="move them away to start anew"):
        checkpoint.latest(tmp_path)


def test_a_checkpoint_gives_back_tensors_and_data(tmp_path: Path):
    tensors = {"a.w": torch.randn(3, 4, 2, 2).to(memory_format=torch.channels_last), "b.w": torch.arange(3)}
    path = checkpoint.save_checkpoint(tmp_path, 128, tensors, {"images_seen": 128, "class_names": ["cat"]})
    assert checkpoint.latest(tmp_path) == path
    assert checkpoint.read_data(path) == {"images_seen": 128, "class_names": ["cat"]}
    assert_close(checkpoint.read_tensors(path), {name: value.contiguous() for name, value in tensors.items()})
    assert list(checkpoint.read_tensors(path, "b.")) == ["w"]


def test_only_the_newest_checkpoints_stay(tmp_path: Path):
    for images_seen in (10, 20, 30, 40):
        checkpoint.save_checkpoint(tmp_path, images_seen, {"w": torch.zeros(1)}, {})
    assert [int(path.stem) for path in checkpoint.list_checkpoints(tmp_path)] == [30, 40]
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(100)])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "1.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not an intact checkpoint of limpid"):
        checkpoint.read_data(path)


@pytest.mark.parametrize(
    ("keep", "remaining"),
    [(1, [150]), (2, [150, 300]), (3, [150, 200, 300]), (0, [100, 150, 200, 300])],
)
def test_a_checkpoint_that_was_just_written_stays_although_there_are_later_ones(
    keep: int, remaining: list[int], tmp_path: Path
):
    for images_seen in (100, 200, 300):
        checkpoint.save_checkpoint(tmp_path, images_seen, {"w": torch.zeros(1)}, {}, keep=0)
    assert checkpoint.save_checkpoint(tmp_path, 150, {"w": torch.ones(1)}, {}, keep=keep).exists()
    assert [int(path.stem) for path in checkpoint.list_checkpoints(tmp_path)] == remaining
