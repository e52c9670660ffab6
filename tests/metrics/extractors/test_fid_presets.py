import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchmetrics.image.fid as outside
from PIL import Image
from torch import Tensor, nn
from torch.testing import assert_close

from limpid.data.cifar10 import Cifar10
from limpid.metrics.extractors import fid_presets, inception_weights
from limpid.metrics.extractors.base import without_alpha
from limpid.metrics.extractors.fid_presets import (
    CLEAN,
    PRESETS,
    PYTORCH,
    TENSORFLOW,
    TORCHMETRICS,
    extract_fn,
    inception_extractor,
)
from limpid.metrics.extractors.inception import Inception
from limpid.metrics.frechet import frechet
from limpid.metrics.moments import Moments

PROTOCOLS = {"TensorFlow": TENSORFLOW, "PyTorch": PYTORCH, "clean": CLEAN, "torchmetrics": TORCHMETRICS}
protocols = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)


def random_pixels(n: int, seed: int, shape: tuple[int, int, int] = (3, 32, 32)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, *shape), generator=generator, dtype=torch.uint8)


@protocols
def test_the_input_of_the_network_is_in_minus_one_to_one(protocol):
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 9, 9)
    top = 1 if protocol is PYTORCH else 127 / 128
    assert_close(protocol(ends), torch.tensor([-1.0, top]).view(2, 1, 1, 1).expand(2, 3, 299, 299))


@protocols
def test_a_grey_image_is_the_colour_image_of_three_equal_channels(protocol):
    grey = random_pixels(2, 0, (1, 40, 28))
    assert_close(protocol(grey), protocol(grey.repeat(1, 3, 1, 1)), rtol=0, atol=1e-6)


@protocols
def test_an_rgba_image_is_the_colour_image_over_white(protocol):
    rgba = random_pixels(2, 0, (4, 40, 28))
    inputs = [Image.fromarray(image.permute(1, 2, 0).numpy(), "RGBA") for image in rgba]
    flat = [np.array(Image.alpha_composite(Image.new("RGBA", (28, 40), "white"), image))[..., :3] for image in inputs]
    pillows = torch.from_numpy(np.stack(flat)).permute(0, 3, 1, 2)
    assert (without_alpha(rgba).int() - pillows.int()).abs().max() <= 1
    assert_close(protocol(rgba), protocol(without_alpha(rgba)), rtol=0, atol=0)


@pytest.mark.parametrize("channels", [2, 5])
def test_other_numbers_of_channels_are_refused(channels: int):
    with pytest.raises(ValueError, match=f"images of {channels} channels: a feature network takes grey"):
        TENSORFLOW(random_pixels(1, 0, (channels, 32, 32)))


def test_protocols_with_equal_descriptions_are_equal_and_the_others_give_other_inputs():
    assert len({protocol.description for protocol in PRESETS.values()}) == len(set(PRESETS.values())) == 4
    pixels = random_pixels(1, 0, (3, 400, 400))
    inputs = [protocol(pixels) for protocol in PROTOCOLS.values()]
    assert all((a - b).abs().max() > 0.1 for i, a in enumerate(inputs) for b in inputs[:i])


# Root mean square differences over real images, for inputs in -1..1. TensorFlow's rule differs most: from 32 pixels to
# 299, its images are shifted by (1 - 32 / 299) / 2 = 0.45 of a pixel against the others. The bilinear rules of torch
# and of torchmetrics are equal for images that are enlarged, so these two differ by their range alone.
APART = {
    ("TensorFlow", "PyTorch"): 0.1068,
    ("TensorFlow", "torchmetrics"): 0.1064,
    ("TensorFlow", "clean"): 0.1140,
    ("PyTorch", "clean"): 0.0228,
    ("torchmetrics", "clean"): 0.0231,
    ("PyTorch", "torchmetrics"): 0.0040,
}


def test_inputs_of_real_images_differ_between_protocols_by_known_amounts(cifar_root: Path):
    pixels = Cifar10(split="test", root=str(cifar_root)).load().pixels[:50]
    inputs = {name: protocol(pixels) for name, protocol in PROTOCOLS.items()}
    apart = {(a, b): (inputs[a] - inputs[b]).square().mean().sqrt().item() for a, b in APART}
    assert apart == pytest.approx(APART, rel=0.02)


@protocols
def test_an_extractor_applies_its_protocol(network: Inception, protocol):
    pixels = random_pixels(2, 0)
    output = extract_fn(network, protocol)(pixels)
    assert_close(output.features, network(protocol(pixels)))
    assert_close(output.logits, network.logits_without_bias(output.features))


def test_an_extractor_computes_in_float32_and_restores_the_settings_of_torch(network: Inception):
    """torch lets the convolutions of newer GPUs round to the eleven bits of TF32."""
    convolutions, found = torch.backends.cudnn.conv, []  # pyright: ignore[reportAttributeAccessIssue]
    before = convolutions.fp32_precision
    with (
        network.register_forward_hook(lambda net, inputs, output: found.append(convolutions.fp32_precision)),
        torch.autocast("cpu", torch.bfloat16),
    ):
        output = extract_fn(network, TENSORFLOW)(random_pixels(1, 0))
    assert found == ["ieee"]
    assert convolutions.fp32_precision == before == "tf32"
    assert output.features.dtype == output.logits.dtype == torch.float32


def test_an_extractor_describes_what_its_features_depend_on(
    random_weights: dict[str, Tensor], network: Inception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "inception.pth"
    torch.save(random_weights, path)
    published = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(inception_weights, "SHA256", published)
    monkeypatch.setattr(fid_presets, "SHA256", published)
    edm = inception_extractor("edm", str(path))
    assert edm[:4] == ("FID", "inception-2015-12-05", published, TENSORFLOW.description)
    pixels = random_pixels(1, 0)
    assert_close(edm.extract(pixels).features, extract_fn(network, TENSORFLOW)(pixels).features, rtol=1e-4, atol=1e-5)


def test_an_unknown_preset_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="no FID preset 'cleanfid': choose from torch-fidelity, edm, "):
        inception_extractor("cleanfid")


class Torchmetrics(nn.Module):
    """The code of torchmetrics run on the layers of limpid's network, as it cannot load weights from elsewhere."""

    num_features = 3

    def __init__(self, network: Inception):
        super().__init__()
        self.layers = SimpleNamespace(
            **dict(network.named_children()),
            MaxPool_1=nn.MaxPool2d(3, 2),
            MaxPool_2=nn.MaxPool2d(3, 2),
            AvgPool=nn.AdaptiveAvgPool2d(1),
            features_list=["2048", "logits_unbiased", "logits"],
            INPUT_IMAGE_SIZE=299,
            use_antialias=True,  # the default of torchmetrics
        )

    def all(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return outside.NoTrainInceptionV3._torch_fidelity_forward(self.layers, pixels)  # pyright: ignore

    def forward(self, pixels: Tensor) -> Tensor:
        return self.all(pixels)[0][:, : self.num_features]


@pytest.fixture
def torchmetrics(network: Inception, monkeypatch: pytest.MonkeyPatch) -> Torchmetrics:
    # It checks its input by a function of torch-fidelity, which cannot be installed beside a CPU build of torch.
    monkeypatch.setattr(outside, "vassert", lambda true, message: None)
    return Torchmetrics(network)


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 400, 310)])
def test_features_under_the_preset_of_torchmetrics_are_those_of_torchmetrics(
    network: Inception, torchmetrics: Torchmetrics, shape: tuple[int, int, int]
):
    pixels = random_pixels(1, 0, shape)
    features, unbiased, logits = torchmetrics.all(pixels)
    output = extract_fn(network, TORCHMETRICS)(pixels)
    assert_close(output.features, features, rtol=1e-4, atol=1e-5)
    assert_close(output.logits, unbiased, rtol=1e-4, atol=1e-4)
    assert_close(network.fc(output.features), logits, rtol=1e-4, atol=1e-4)


def test_fid_under_the_preset_of_torchmetrics_is_that_of_torchmetrics(network: Inception, torchmetrics: Torchmetrics):
    real, fake = random_pixels(5, 0), random_pixels(5, 1) // 2
    reference = outside.FrechetInceptionDistance(feature=torchmetrics)
    reference.update(real, real=True)
    reference.update(fake, real=False)
    extract = extract_fn(network, TORCHMETRICS)
    statistics = [Moments.of(extract(pixels).features[:, :3]).statistics for pixels in (real, fake)]
    assert frechet(*statistics) == pytest.approx(reference.compute().item(), rel=1e-4)
