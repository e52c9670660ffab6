"""Moments add, and their mean and covariance are NumPy's, also far from zero."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from limpid.metrics.chunks import ROWS
from limpid.metrics.moments import Moments, all_of, blocks_of, without_each

F64 = torch.float64


@pytest.fixture
def features() -> torch.Tensor:
    mixed = torch.randn(7, 7, dtype=F64)
    return torch.randn(2 * ROWS + 100, 7, dtype=F64) @ mixed + torch.randn(7, dtype=F64)


def test_mean_and_covariance_are_numpys(features):
    moments = Moments.of(features)
    assert moments.n == len(features)
    assert_close(moments.mean, torch.from_numpy(features.numpy().mean(0)))
    assert_close(moments.covariance, torch.from_numpy(np.cov(features.numpy(), rowvar=False)))


def test_moments_of_parts_add_to_those_of_all_rows(features):
    parts = [Moments.of(part) for part in features.split([1, 0, 500, len(features) - 501])]
    assert_close(astuple(all_of(parts)), astuple(Moments.of(features)))
    assert_close(astuple(all_of(parts) - parts[2]), astuple(parts[0] + parts[3]))


def test_moments_of_batches_resumed_anywhere_have_the_same_bits(features):
    """A resumed run adds the same terms in the same order to the sum that was saved."""
    batches = [Moments.of(batch) for batch in features.float().split(100)]
    total = all_of(batches)
    for stop in (1, 7, len(batches) - 1):
        resumed = all_of([all_of(batches[:stop]), *batches[stop:]])
        assert_close(astuple(resumed), astuple(total), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.uint8])
def test_moments_of_narrow_dtypes_are_those_of_the_same_values_in_float64(features, dtype):
    narrow = features.abs().to(dtype)
    assert_close(astuple(Moments.of(narrow)), astuple(Moments.of(narrow.double())), rtol=1e-12, atol=0)
    assert Moments.of(narrow).outer.dtype == F64


@pytest.mark.parametrize("ratio", [1e1, 1e3, 1e5])
def test_raw_sums_lose_digits_with_the_square_of_mean_over_deviation(ratio):
    """The sum of squares is right to some 1e-16 of mean^2, of which the variance is 1 / ratio^2."""
    centred = torch.randn(5_000, 4, dtype=F64)
    # In steps of a power of two, so that the shift itself loses nothing.
    centred = (centred * 2**20).round() / 2**20
    far = Moments.of(centred + ratio).covariance
    assert (far - Moments.of(centred).covariance).abs().max() < 1e-14 * ratio**2


def test_blocks_hold_every_row_once_in_another_order(features):
    blocks = blocks_of(features, 10, torch.Generator().manual_seed(0))
    assert sorted(block.n for block in blocks) == [214, 214] + [215] * 8
    assert_close(astuple(all_of(blocks)), astuple(Moments.of(features)))
    ordered = [Moments.of(part) for part in features.tensor_split(10)]
    assert (blocks[0].mean - ordered[0].mean).abs().max() > 1e-3
    again = blocks_of(features, 10, torch.Generator().manual_seed(0))
    assert_close(astuple(again[3]), astuple(blocks[3]), rtol=0, atol=0)


def test_without_each_leaves_out_one_block_at_a_time(features):
    blocks = [Moments.of(part) for part in features.split(500)]
    rests = list(without_each(blocks))
    assert len(rests) == len(blocks)
    for i, rest in enumerate(rests):
        assert_close(astuple(rest), astuple(all_of(blocks[:i] + blocks[i + 1 :])))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_refused(features, bad):
    features[700, 3] = bad
    with pytest.raises(ValueError, match="not finite"):
        Moments.of(features)


def test_too_few_rows_and_unequal_widths_are_refused(features):
    with pytest.raises(ValueError, match="at least one row"):
        _ = Moments.of(features[:0]).mean
    with pytest.raises(ValueError, match="1 rows of features have no covariance"):
        _ = Moments.of(features[:1]).statistics
    with pytest.raises(ValueError, match="7 and of 6 features do not add"):
        _ = Moments.of(features) + Moments.of(features[:, :6])
    with pytest.raises(ValueError, match="3 rows of features do not make 4 blocks"):
        blocks_of(features[:3], 4, torch.Generator())
