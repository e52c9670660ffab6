"""Several processes split a batch, group their gradients and broadcast objects and tensors."""

from pathlib import Path

import pytest
import torch
from process_group import set_rank, together

from limpid.runtime import distributed, grad_sync
from limpid.runtime.grad_sync import group_by_size


def test_the_slices_of_all_processes_are_the_batch_in_order(monkeypatch: pytest.MonkeyPatch):
    for count in (1, 2, 3, 7):
        for batch in range(count, 30):
            slices = []
            for rank in range(count):
                set_rank(rank, count, monkeypatch)
                slices.append(list(range(batch))[distributed.local_slice(batch)])
            assert [index for part in slices for index in part] == list(range(batch))
            assert max(map(len, slices)) - min(map(len, slices)) <= 1
    with pytest.raises(ValueError, match="batch 6 for 7 processes: expected at least one image for each"):
        distributed.local_slice(6)


def test_gradient_buckets_have_all_weights_in_order_and_none_is_too_large(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grad_sync, "BUCKET_SIZE", 10)
    groups = list(group_by_size([torch.empty(n) for n in (4, 5, 2, 20, 1, 9)]))
    assert [[len(weight) for weight in group] for group in groups] == [[4, 5], [2], [20], [1, 9]]


def broadcast_and_map(folder: Path) -> None:
    """What each of three processes sends and receives; the tensors go to files in the folder."""
    distributed.init("cpu")
    rank = distributed.rank()
    assert distributed.broadcast_object(lambda: f"from {rank}") == "from 0"
    assert [distributed.any_rank(rank == 2), distributed.any_rank(False)] == [True, False]
    tensors = {"half": torch.arange(3).half(), "last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)}
    tensors |= {"none": torch.zeros(0, 2), "one": torch.tensor(2.5), "yes": torch.tensor([True, False])}
    received = distributed.broadcast_tensors(lambda: tensors)
    distributed.parallel_map(str, [1])
    torch.save(received, folder / f"received-{rank}.pt")
    if rank == 0:
        torch.save(tensors, folder / "tensors.pt")
    assert list(distributed.parallel_map(lambda i: (i, rank), range(7))) == [(i, i % 3) for i in range(7)]
    done = folder / "done-by-main"
    assert distributed.local_main_first(lambda: done.exists() or done.touch()) is (None if rank == 0 else True)


def test_objects_and_tensors_are_broadcast_to_all_processes(tmp_path: Path):
    ended = together(3, tmp_path, broadcast_and_map, tmp_path)
    assert ended.codes == [0, 0, 0], ended.output
    tensors = torch.load(tmp_path / "tensors.pt")
    for rank in range(3):
        received = torch.load(tmp_path / f"received-{rank}.pt")
        assert received.keys() == tensors.keys()
        assert all(torch.equal(received[name], value) for name, value in tensors.items())
        assert all(received[name].dtype == value.dtype for name, value in tensors.items())
