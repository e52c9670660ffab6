"""The CIFAR-10 classifier, the default feature network: its file, its accuracy, and equal features on every device."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from limpid.data import Cifar10
from limpid.evaluation.scores import feature_extractor
from limpid.metrics.extractors import cifar_classifier
from limpid.metrics.extractors.base import FeatureExtractor, Features, extract_features


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


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return feature_extractor("cifar")


def test_the_feature_network_is_the_file_whose_hash_is_in_its_json_file(monkeypatch: pytest.MonkeyPatch):
    assert cifar_classifier.cifar_extractor().sha256 == cifar_classifier.about()["sha256"]
    monkeypatch.setattr(cifar_classifier, "about", lambda: {"sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"has the sha256 .*: expected 000"):
        cifar_classifier.cifar_extractor()


def test_the_feature_network_fits_in_two_megabytes():
    assert cifar_classifier.WEIGHTS.stat().st_size <= 2_000_000


def test_the_feature_network_has_the_accuracy_in_its_json_file(cifar_root: Path, extractor: FeatureExtractor):
    """On the first 2,000 test images: within three standard errors of what was measured on all of them."""
    test = Cifar10(root=str(cifar_root), split="test").load()
    predicted = extract_features(extractor, test.pixels[:2000])["logits"].argmax(1)
    accuracy = (predicted == test.labels[:2000]).double().mean().item()
    stated = cifar_classifier.about()["test_accuracy"]
    assert stated >= 0.915
    assert abs(accuracy - stated) < 3 * (stated * (1 - stated) / 2000) ** 0.5


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 48), (1, 32, 32)])
def test_the_feature_network_takes_grey_and_colour_of_any_size(
    extractor: FeatureExtractor, shape: tuple[int, int, int]
):
    output = extractor.extract(torch.zeros(2, *shape, dtype=torch.uint8))
    assert output.features.shape == (2, 168)
    assert output.logits.shape == (2, 10)


def test_the_feature_network_refuses_other_channels(extractor: FeatureExtractor):
    with pytest.raises(ValueError, match="2 channels"):
        extractor.extract(torch.zeros(2, 2, 32, 32, dtype=torch.uint8))


def test_features_are_moved_to_the_cpu(extractor: FeatureExtractor):
    """From a fake GPU, whose tensors have devices and shapes but no values."""
    with FakeTensorMode():
        output = Features(torch.zeros(2, 168, device="cuda:0"), torch.zeros(2, 10, device="cuda:0"))
        features = extract_features(
            extractor._replace(extract=lambda pixels: output), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        )
    assert {name: value.device.type for name, value in features.items()} == {"features": "cpu", "logits": "cpu"}
