"""For any number of rows, no tensor is computed that is larger than a product of two chunks, or than the sets."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from limpid.metrics.chunks import COLUMNS, ROWS, chunks
from limpid.metrics.kid import kid, mmd2
from limpid.metrics.moments import Moments
from limpid.metrics.neighbours import nearest
from limpid.metrics.prdc import prdc
from limpid.metrics.sliced import DIRECTIONS_PER_CHUNK, sliced_wasserstein

N, M, D = 6_000, 5_000, 2
GENERATOR = torch.Generator().manual_seed(0)

MEASURES: dict[str, Callable[[Tensor, Tensor], object]] = {
    "moments": lambda x, y: Moments.of(x),
    "discrepancy": mmd2,
    "kid": lambda x, y: kid(x, y, GENERATOR, subsets=2, size=3_000),
    "nearest": lambda x, y: nearest(x, y, 3),
    "prdc": lambda x, y: prdc(x, y, 3),
    "sliced": lambda x, y: sliced_wasserstein(x, y, GENERATOR, directions=2 * DIRECTIONS_PER_CHUNK),
}


class Largest(TorchDispatchMode):
    """Records the bytes of the largest tensor that any operation returned, other than views of its inputs."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        made = [leaf.untyped_storage() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.bytes = max([self.bytes, *(memory.nbytes() for memory in made if memory.data_ptr() not in given)])
        return result


@pytest.mark.parametrize("name", MEASURES)
def test_no_temporary_is_larger_than_a_chunk(name):
    """The largest are a product of two chunks, and the quantiles of all rows along a chunk of directions, in 8 bytes
    or fewer."""
    x, y = torch.randn(N, D), torch.randn(M, D)
    with Largest() as recorder:
        MEASURES[name](x, y)
    assert recorder.bytes <= 8 * max(ROWS * COLUMNS, DIRECTIONS_PER_CHUNK * (N + M))
    assert recorder.bytes < 4 * N * M / 2


def test_the_recorder_counts_new_tensors_but_not_views():
    x = torch.randn(100, 2)
    with Largest() as recorder:
        _ = x @ x.T
    assert recorder.bytes == 4 * 100 * 100
    with Largest() as recorder:
        _ = x[:50].T
    assert recorder.bytes == 0


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [(torch.uint8, torch.float32), (torch.bfloat16, torch.float32), (torch.float32,) * 2, (torch.float64,) * 2],
)
def test_chunks_are_the_rows_in_order_in_wide_enough_numbers(dtype, wide):
    rows = torch.arange(40).view(20, 2).to(dtype)
    parts = list(chunks(rows, 7))
    assert [len(part) for part in parts] == [7, 7, 6]
    assert_close(torch.cat(parts), rows.to(wide), rtol=0, atol=0)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_features_that_are_no_numbers_are_refused_by_all(name, bad):
    x, y = torch.randn(3_100, D), torch.randn(3_100, D)
    x[:, 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        MEASURES[name](x, y)
