"""The judge of CIFAR-10 looks alike on every device: images are resized in the host's memory, sums are in float32."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from limpid.metrics.extractors import cifar_classifier
from limpid.metrics.extractors.base import Features


class OnGpu(cifar_classifier.Classifier):
    """A judge that says what it is shown, on a GPU."""

    def __init__(self):
        nn.Module.__init__(self)
        self.mean = torch.zeros(2, 10, device="cuda:0")

    def forward(self, pixels: Tensor) -> Features:
        return Features(pixels.float().flatten(1), self.mean)


@pytest.mark.parametrize("home", ["cpu", "cuda:0"])
def test_images_are_resized_in_the_hosts_memory(monkeypatch: pytest.MonkeyPatch, home: str):
    """A GPU has no antialiased resize of whole numbers. Of this one there are devices and shapes alone, no numbers."""
    resize = F.interpolate

    def resized(x: Tensor, *args: object, **options: object) -> Tensor:
        assert x.device.type == "cpu"
        return resize(x, *args, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(F, "interpolate", resized)
    with FakeTensorMode():
        said = cifar_classifier.features_fn(OnGpu())(torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device=home))
    assert said.features.device == torch.device("cuda:0")


def test_the_judge_looks_in_float32_and_leaves_torch_as_it_was(monkeypatch: pytest.MonkeyPatch):
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
        said = extractor.extract(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert found == [("ieee", *before[1:])]
    assert rounding() == before == ("tf32", *before[1:])
    assert said.features.dtype == said.logits.dtype == torch.float32
