"""Norms do what their formulas say, in every layout and dtype, and by every way of computing them."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limpid.nets.kernels import group_norm_cpu
from limpid.nets.norm import GroupNorm, group_norm, groups


@pytest.mark.parametrize(
    ("channels", "expected"), [(128, 32), (384, 32), (96, 24), (32, 8), (100, 25), (44, 11), (7, 1), (1, 1)]
)
def test_groups_divide_the_channels_and_hold_four_or_more(channels: int, expected: int):
    assert groups(channels) == expected


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_norms_formula_is_that_of_the_library_and_keeps_the_layout(layout: torch.memory_format):
    x = torch.randn(2, 12, 5, 7).mul(3).add(2).to(memory_format=layout)
    weight, bias = torch.randn(12), torch.randn(12)
    y = group_norm(x, 3, weight, bias, 1e-6)
    torch.testing.assert_close(y, F.group_norm(x, 3, weight, bias, 1e-6))
    assert y.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_norm_of_bfloat16_is_exact_up_to_the_rounding_of_its_answer(layout: torch.memory_format):
    norm = GroupNorm(32)
    x = (torch.randn(2, 32, 6, 6) * 0.1 + 3).bfloat16().to(memory_format=layout)
    y = norm(x)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=layout)
    torch.testing.assert_close(y, norm(x.double().float()).bfloat16())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_formulas_gradients_are_those_of_the_library_in_float32(dtype: torch.dtype, layout: torch.memory_format):
    x = torch.randn(2, 16, 5, 7).add(1).to(dtype).to(memory_format=layout).requires_grad_()
    weight, bias = (torch.randn(16, requires_grad=True) for _ in range(2))
    toward = torch.randn(2, 16, 5, 7)
    expected = F.silu(F.group_norm(x.float(), 2, weight, bias, 1e-6))
    y = F.silu(group_norm(x.float(), 2, weight, bias, 1e-6))
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    gradients = (torch.autograd.grad(output, (x, weight, bias), toward) for output in (y, expected))
    for outputs, expected_output in zip(*gradients, strict=True):
        torch.testing.assert_close(
            outputs, expected_output, rtol=1e-2 if outputs.dtype == torch.bfloat16 else 1e-4, atol=1e-4
        )


def outputs_and_gradients(
    layer: GroupNorm, x: Tensor, modulation: dict[str, Tensor], toward: Tensor
) -> tuple[Tensor, ...]:
    """What norm and silu output, and its gradients, in the order of x, what is modulation, weight, bias."""
    inputs = [x, *modulation.values(), layer.weight, layer.bias]
    y = layer.silu(x, **modulation)
    return y, *torch.autograd.grad(y, inputs, toward)


@pytest.mark.parametrize("modulation", [(), ("shift_in",), ("scale", "shift")])
@pytest.mark.parametrize("shape", [(5, 8, 6, 4), (3, 12, 1, 1), (4, 32, 8, 8)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_block_by_block_is_the_formula_up_to_the_rounding_of_the_answer(
    modulation: tuple[str, ...], shape: tuple[int, ...], layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
):
    b, c, h, w = shape
    x = torch.randn(shape).mul(2).add(1).bfloat16().to(memory_format=layout).requires_grad_()
    values = {name: torch.randn(b, c, requires_grad=True) for name in modulation}
    layer, toward = GroupNorm(c), torch.randn(shape).bfloat16()
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    exact = GroupNorm(c).double()
    exact.load_state_dict(layer.state_dict())
    monkeypatch.setattr(group_norm_cpu, "BLOCKWISE_ABOVE", 0)
    monkeypatch.setattr(group_norm_cpu, "BLOCK_SIZE", 2 * c * h * w)  # two maps in a block, and one in the last
    outputs = outputs_and_gradients(layer, x, values, toward)
    wide = [value.detach().double().requires_grad_() for value in (x, *values.values())]
    y = reference(exact, wide[0], dict(zip(values, wide[1:], strict=True)))
    expected = (y, *torch.autograd.grad(y, [*wide, exact.weight, exact.bias], toward.double()))
    assert outputs[0].is_contiguous(memory_format=torch.channels_last)
    for found, true in zip(outputs, expected, strict=True):
        rounding = 2**-8 if found.dtype == torch.bfloat16 else 2e-5
        error, largest = (found.double() - true).abs().max(), true.abs().max()
        assert error <= rounding * largest + 1e-6


def test_a_norm_alone_is_the_same_block_by_block(monkeypatch: pytest.MonkeyPatch):
    layer, x, toward = GroupNorm(24), torch.randn(3, 24, 5, 4).bfloat16().requires_grad_(), torch.randn(3, 24, 5, 4)

    def outputs_and_gradients() -> tuple[Tensor, ...]:
        y = layer(x)
        return y, *torch.autograd.grad(y, [x, *layer.parameters()], toward.bfloat16())

    unsplit = outputs_and_gradients()
    monkeypatch.setattr(group_norm_cpu, "BLOCKWISE_ABOVE", 0)
    for outputs, expected_output in zip(outputs_and_gradients(), unsplit, strict=True):
        torch.testing.assert_close(outputs, expected_output, rtol=1e-2, atol=1e-2)


def reference(layer: GroupNorm, x: Tensor, modulation: dict[str, Tensor]) -> Tensor:
    """The formula in float64."""
    wide = {name: value[:, :, None, None] for name, value in modulation.items()}
    y = F.group_norm(x + wide.get("shift_in", 0), layer.groups, layer.weight, layer.bias, layer.eps)
    return F.silu(y * (1 + wide.get("scale", 0)) + wide.get("shift", 0))


def test_large_maps_of_bfloat16_alone_go_block_by_block():
    layer, seen = GroupNorm(64), []
    for dtype, edge in ((torch.bfloat16, 128), (torch.bfloat16, 16), (torch.float32, 128)):
        y = layer.silu(torch.randn(1, 64, edge, edge, dtype=dtype))
        assert y.grad_fn is not None
        seen.append("Blockwise" in y.grad_fn.name())
    assert seen == [True, False, False]


@torch.no_grad()
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(32, 32, 32), (96, 16, 16), (256, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outside_training_the_bits_of_an_image_do_not_depend_on_its_batch(
    dtype: torch.dtype, shape: tuple[int, ...], threads: int
):
    torch.manual_seed(0)
    layer, modulation = GroupNorm(shape[0]).eval(), torch.randn(3, 72, shape[0]).to(dtype)
    x = torch.randn(72, *shape).add(1).to(dtype).contiguous(memory_format=torch.channels_last)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for n in (1, 8, 37):
            assert torch.equal(layer(x[:n]), layer(x)[:n])
            for values in ((modulation[0],), (None, modulation[1], modulation[2])):
                alone, together = (layer.silu(x[:m], *(v if v is None else v[:m] for v in values)) for m in (n, 72))
                assert alone.is_contiguous(memory_format=torch.channels_last)
                # The library's silu rounds the last few float32 numbers of each thread's part in another manner.
                exact = dtype == torch.bfloat16
                torch.testing.assert_close(alone, together[:n], rtol=0 if exact else 3e-7, atol=0 if exact else 1e-7)
    finally:
        torch.set_num_threads(before)
