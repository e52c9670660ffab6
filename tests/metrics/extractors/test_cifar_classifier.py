"""The CIFAR-10 classifier gives the same features on every device: images are resized on the CPU, sums are float32."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from limpid.metrics.extractors import cifar_classifier
from limpid.metrics.extractors.base import Features


class OnGpu(cifar_classifier.Classifier):
    """A classifier on a GPU that returns its input as features."""

    def __init__(self):
        nn.Module.__init__(self)
        self.mean = torch.zeros(2, 10, device="cuda:0")

    def forward(self, pixels: Tensor) -> Features:
        return Features(pixels.float().flatten(1), self.mean)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_images_are_resized_on_the_cpu(monkeypatch: pytest.MonkeyPatch, device: str):
    """torch has no antialiased resize of integers on a GPU. The fake tensors have devices and shapes, but no values."""
    resize = F.interpolate

    def resized(x: Tensor, *args: object, **options: object) -> Tensor:
        assert x.device.type == "cpu"
        return resize(x, *args, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(F, "interpolate", resized)
    with FakeTensorMode():
        output = cifar_classifier.features_fn(OnGpu())(torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device=device))
    assert output.features.device == torch.device("cuda:0")


def test_the_classifier_computes_in_float32_and_restores_the_settings_of_torch(monkeypatch: pytest.MonkeyPatch):
    """torch lets the convolutions of newer GPUs round to the eleven bits of TF32."""
    extractor, found = cifar_classifier.cifar_extractor(), []

    def rounding() -> tuple[object, ...]:
        cudnn = torch.backends.cudnn
        return cudnn.conv.fp32_precision, cudnn.enabled, cudnn.benchmark, cudnn.deterministic  # pyright: ignore

    forward = cifar_classifier.Classifier.forward
    monkeypatch.setattr(
        cifar_classifier.Classifier, "forward", lambda net, x: found.append(rounding()) or forward(net, x)
    )
    before = rounding()
    with torch.autocast("cpu", torch.bfloat16):
        output = extractor.extract(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert found == [("ieee", *before[1:])]
    assert rounding() == before == ("tf32", *before[1:])
    assert output.features.dtype == output.logits.dtype == torch.float32
