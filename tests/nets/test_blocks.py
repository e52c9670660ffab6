"""The parts of networks do what their formulas say, in every layout and dtype."""

import pytest
import torch
import torch.nn.functional as F

from limpid.nets.blocks import check_divisible, sinusoid
from limpid.nets.kernels.attention_cpu import attend
from limpid.nets.kernels.dropout_cpu import Dropout


def test_a_sinusoid_is_sines_then_cosines_of_falling_frequencies():
    t = torch.tensor([0.0, 0.25, 999.0])
    waves = sinusoid(t, 8)
    for i in range(4):
        frequency = 10_000 ** (-i / 3)
        torch.testing.assert_close(waves[:, i], (t * frequency).sin(), rtol=0, atol=1e-4)
        torch.testing.assert_close(waves[:, i + 4], (t * frequency).cos(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("heads", [1, 3])
def test_attention_is_that_of_the_library(heads: int):
    q, k, v = torch.randn(3, 2, heads, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(attend(q, k, v), F.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_drops_its_share_and_keeps_the_mean(layout: torch.memory_format):
    torch.manual_seed(0)
    x = torch.ones(7, 31, 29, 5).to(memory_format=layout).requires_grad_()
    y = Dropout(0.1)(x)
    n, dropped = x.numel(), (y == 0).sum().item()
    assert abs(dropped - 0.1 * n) < 4 * (0.1 * 0.9 * n) ** 0.5
    torch.testing.assert_close(y[y != 0], torch.full((n - dropped,), 1 / 0.9), rtol=1e-4, atol=0)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_dropout_is_independent_for_every_number():
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(1, 4, 100, 100)) == 0).double()
    shares = dropped.mean(dim=(0, 2, 3))
    assert ((shares - 0.5).abs() < 4 * 0.5 / 100).all()
    neighbours = torch.corrcoef(dropped.permute(0, 2, 3, 1).reshape(-1, 4).T) - torch.eye(4)
    assert (neighbours.abs() < 4 / 100).all()


def test_dropout_does_nothing_outside_training_and_is_repeated_by_its_seed():
    x, dropout = torch.randn(2, 3, 4, 5), Dropout(0.3)
    masks = [dropout(x) for seed in (1, 1, 2) if torch.manual_seed(seed)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_of_nearly_all_numbers_leaves_some():
    torch.manual_seed(0)
    y = Dropout(0.999999)(torch.ones(1, 4, 256, 256))
    assert y.isfinite().all()
    assert 0 < (y != 0).sum() < 50


@pytest.mark.parametrize(
    ("size", "nearest"), [((30, 32), "32x32"), ((27, 37), "24x40"), ((3, 8), "8x8"), ((12, 20), "16x24")]
)
def test_a_size_that_is_no_multiple_is_refused_with_the_nearest_that_is(size: tuple[int, int], nearest: str):
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]}: expected multiples of 8; .* {nearest}$"):
        check_divisible((3, *size), 8)
