"""The gradient of weights by matrix products is the library's."""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.grad import conv2d_weight

from limpid.nets.conv import Conv3x3
from limpid.nets.kernels import conv3x3_cpu
from limpid.nets.kernels.conv3x3_cpu import weight_gradient


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (1, 3, 5, 2), (2, 4, 1, 1), (2, 1, 3, 7)])
def test_nine_products_are_the_gradient_of_the_weights(shape: tuple[int, ...], layout: torch.memory_format):
    x = torch.randn(shape, dtype=torch.float64).to(memory_format=layout)
    gradient = torch.randn(len(x), 5, *shape[2:], dtype=torch.float64).to(memory_format=layout)
    expected = conv2d_weight(x, [5, shape[1], 3, 3], gradient, padding=1)
    torch.testing.assert_close(weight_gradient(x, gradient), expected)


def test_on_small_maps_it_equals_the_convolution_of_torch(monkeypatch: pytest.MonkeyPatch):
    layer, x = Conv3x3(6, 4), torch.randn(3, 6, 4, 4).bfloat16().requires_grad_()
    toward = torch.randn(3, 4, 4, 4).bfloat16()

    def outputs_and_gradients() -> tuple[torch.Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        assert y.grad_fn is not None
        assert ("Conv3x3SmallMaps" in y.grad_fn.name()) == (conv3x3_cpu.WIDE_KERNEL == 0)
        return y, *torch.autograd.grad(y, [x, *layer.parameters()], toward)

    plain = outputs_and_gradients()
    monkeypatch.setattr(conv3x3_cpu, "WIDE_KERNEL", 0)
    for actual, expected_value in zip(outputs_and_gradients(), plain, strict=True):
        assert actual.dtype == expected_value.dtype
        torch.testing.assert_close(actual, expected_value, rtol=1.6e-2, atol=1e-2)


def test_a_tensor_that_needs_no_gradient_gets_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(conv3x3_cpu, "WIDE_KERNEL", 0)
    layer, x = Conv3x3(6, 4).requires_grad_(False), torch.randn(1, 6, 4, 4).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.sum().backward()
    assert layer.weight.grad is None
    expected = F.conv_transpose2d(torch.ones(1, 4, 4, 4), layer.weight, padding=1)
    assert x.grad is not None
    torch.testing.assert_close(x.grad.float(), expected, rtol=2e-2, atol=2e-2)
