"""The network against the paper's arithmetic, written out in plain calls with the names of the published file."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from limpid.metrics.extractors.inception import (
    EPSILON,
    BasicConv2d,
    Inception,
    InceptionBlock,
    avg_pool3x3,
    max_pool3x3,
)

Pool = Callable[[Tensor], Tensor]


class Paper:
    """Szegedy et al. (2016): each layer by its published name, its output, and the tensors that it used.

    The pooling of the last block is a parameter, and so is that of the others that keep the size.
    """

    def __init__(self, weights: dict[str, Tensor], in_image: Pool, at_last: Pool):
        self.weights, self.in_image, self.at_last = weights, in_image, at_last
        self.used: set[str] = set()
        self.given: dict[str, Tensor] = {}

    def take(self, name: str) -> Tensor:
        self.used.add(name)
        return self.weights[name]

    def unit(self, x: Tensor, name: str, stride: int = 1, padding: tuple[int, int] = (0, 0)) -> Tensor:
        mean, variance, weight, bias = (
            self.take(f"{name}.bn.{part}") for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.conv2d(x, self.take(f"{name}.conv.weight"), stride=stride, padding=padding)
        self.given[name] = F.relu(F.batch_norm(x, mean, variance, weight, bias, training=False, eps=1e-3))
        return self.given[name]

    def fine(self, x: Tensor, block: str) -> Tensor:
        one = self.unit(x, f"{block}.branch1x1")
        five = self.unit(self.unit(x, f"{block}.branch5x5_1"), f"{block}.branch5x5_2", padding=(2, 2))
        three = self.unit(self.unit(x, f"{block}.branch3x3dbl_1"), f"{block}.branch3x3dbl_2", padding=(1, 1))
        three = self.unit(three, f"{block}.branch3x3dbl_3", padding=(1, 1))
        pooled = self.unit(self.in_image(x), f"{block}.branch_pool")
        return self.joined(block, one, five, three, pooled)

    def to_middle(self, x: Tensor, block: str) -> Tensor:
        three = self.unit(x, f"{block}.branch3x3", stride=2)
        double = self.unit(self.unit(x, f"{block}.branch3x3dbl_1"), f"{block}.branch3x3dbl_2", padding=(1, 1))
        double = self.unit(double, f"{block}.branch3x3dbl_3", stride=2)
        return self.joined(block, three, double, F.max_pool2d(x, 3, stride=2))

    def middle(self, x: Tensor, block: str) -> Tensor:
        one = self.unit(x, f"{block}.branch1x1")
        seven = self.unit(self.unit(x, f"{block}.branch7x7_1"), f"{block}.branch7x7_2", padding=(0, 3))
        seven = self.unit(seven, f"{block}.branch7x7_3", padding=(3, 0))
        double = self.unit(self.unit(x, f"{block}.branch7x7dbl_1"), f"{block}.branch7x7dbl_2", padding=(3, 0))
        double = self.unit(double, f"{block}.branch7x7dbl_3", padding=(0, 3))
        double = self.unit(double, f"{block}.branch7x7dbl_4", padding=(3, 0))
        double = self.unit(double, f"{block}.branch7x7dbl_5", padding=(0, 3))
        pooled = self.unit(self.in_image(x), f"{block}.branch_pool")
        return self.joined(block, one, seven, double, pooled)

    def to_coarse(self, x: Tensor, block: str) -> Tensor:
        three = self.unit(self.unit(x, f"{block}.branch3x3_1"), f"{block}.branch3x3_2", stride=2)
        seven = self.unit(self.unit(x, f"{block}.branch7x7x3_1"), f"{block}.branch7x7x3_2", padding=(0, 3))
        seven = self.unit(seven, f"{block}.branch7x7x3_3", padding=(3, 0))
        seven = self.unit(seven, f"{block}.branch7x7x3_4", stride=2)
        return self.joined(block, three, seven, F.max_pool2d(x, 3, stride=2))

    def coarse(self, x: Tensor, block: str, pool: Pool) -> Tensor:
        one = self.unit(x, f"{block}.branch1x1")
        three = self.unit(x, f"{block}.branch3x3_1")
        across = self.unit(three, f"{block}.branch3x3_2a", padding=(0, 1))
        down = self.unit(three, f"{block}.branch3x3_2b", padding=(1, 0))
        double = self.unit(self.unit(x, f"{block}.branch3x3dbl_1"), f"{block}.branch3x3dbl_2", padding=(1, 1))
        double_across = self.unit(double, f"{block}.branch3x3dbl_3a", padding=(0, 1))
        double_down = self.unit(double, f"{block}.branch3x3dbl_3b", padding=(1, 0))
        pooled = self.unit(pool(x), f"{block}.branch_pool")
        return self.joined(block, one, across, down, double_across, double_down, pooled)

    def joined(self, block: str, *branches: Tensor) -> Tensor:
        self.given[block] = torch.cat(branches, 1)
        return self.given[block]

    def features(self, x: Tensor) -> Tensor:
        x = self.unit(self.unit(x, "Conv2d_1a_3x3", stride=2), "Conv2d_2a_3x3")
        x = F.max_pool2d(self.unit(x, "Conv2d_2b_3x3", padding=(1, 1)), 3, stride=2)
        x = F.max_pool2d(self.unit(self.unit(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3"), 3, stride=2)
        x = self.fine(self.fine(self.fine(x, "Mixed_5b"), "Mixed_5c"), "Mixed_5d")
        x = self.middle(self.middle(self.to_middle(x, "Mixed_6a"), "Mixed_6b"), "Mixed_6c")
        x = self.to_coarse(self.middle(self.middle(x, "Mixed_6d"), "Mixed_6e"), "Mixed_7a")
        x = self.coarse(self.coarse(x, "Mixed_7b", self.in_image), "Mixed_7c", self.at_last)
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


def counted_mean(x: Tensor) -> Tensor:
    """The mean of the 3x3 pixels around each without the padding: sums by a kernel of ones, divided by their number."""
    ones = torch.ones(x.shape[1], 1, 3, 3)
    sums = F.conv2d(x, ones, padding=1, groups=x.shape[1])
    return sums / F.conv2d(torch.ones_like(x), ones, padding=1, groups=x.shape[1])


def highest(x: Tensor) -> Tensor:
    """The maximum of the 3x3 pixels around each."""
    return F.pad(x, (1, 1, 1, 1), value=-torch.inf).unfold(2, 3, 1).unfold(3, 3, 1).amax((-2, -1))


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.rand(2, 3, 299, 299, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def paper(random_weights: dict[str, Tensor], x: Tensor) -> Paper:
    """FID's variant of the paper, run on `x`."""
    paper = Paper(random_weights, counted_mean, highest)
    paper.given["features"] = paper.features(x)
    return paper


@pytest.fixture(scope="module")
def given(network: Inception, x: Tensor) -> dict[str, Tensor]:
    """The output of each module of the network for `x`, by name."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        return lambda module, inputs, output: outputs.update({name: output})

    parts = [(name, part) for name, part in network.named_modules() if isinstance(part, (BasicConv2d, InceptionBlock))]
    hooks = [part.register_forward_hook(keep(name)) for name, part in parts]
    outputs["features"] = network(x)
    for hook in hooks:
        hook.remove()
    return outputs


def test_every_part_of_the_network_is_the_papers_arithmetic(paper: Paper, given: dict[str, Tensor]):
    assert given.keys() == paper.given.keys()
    for name, expected in paper.given.items():
        error = (given[name] - expected).norm() / expected.norm()
        assert error < 1e-5, f"{name}: {error:.1e}"


def test_the_papers_arithmetic_uses_every_tensor_but_those_of_the_logits(
    paper: Paper, random_weights: dict[str, Tensor]
):
    assert random_weights.keys() - paper.used == {"fc.weight", "fc.bias"}
    assert random_weights["fc.weight"].shape == (1008, 2048)
    assert random_weights["fc.bias"].shape == (1008,)


def test_it_has_as_many_weights_as_torchvisions_less_the_side_head_and_with_eight_more_classes():
    # torchvision's documentation: 27,161,264 with a side head of two convolutions and a matrix, for 1000 classes.
    side = 768 * 128 + 2 * 128 + 128 * 768 * 5 * 5 + 2 * 768 + (768 + 1) * 1000
    assert sum(weights.numel() for weights in Inception().parameters()) == 27_161_264 - side + 8 * (2048 + 1)


def test_maps_have_the_sizes_of_the_paper(given: dict[str, Tensor]):
    stages = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "Mixed_5b"]
    stages += ["Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"]
    assert [tuple(given[stage].shape[1:3]) for stage in stages] == [
        *[(32, 149), (32, 147), (64, 147), (80, 73), (192, 71), (256, 35)],
        *[(288, 35), (288, 35), (768, 17), (768, 17), (1280, 8), (2048, 8), (2048, 8)],
    ]
    assert given["features"].shape == (2, 2048)


def test_random_weights_give_outputs_that_differ_enough_to_compare(given: dict[str, Tensor]):
    assert all(0.1 < output.std() < 10 for name, output in given.items() if name != "features")


@pytest.mark.parametrize(
    ("in_image", "at_last"),
    [(lambda x: F.avg_pool2d(x, 3, 1, 1), highest), (counted_mean, counted_mean)],
    ids=["average pooling that counts what is outside", "a mean in the last block"],
)
def test_torchvisions_poolings_give_other_features(
    random_weights: dict[str, Tensor], x: Tensor, given: dict[str, Tensor], in_image: Pool, at_last: Pool
):
    other = Paper(random_weights, in_image, at_last).features(x[:1])
    assert (given["features"][:1] - other).norm() / other.norm() > 0.01


def test_pooling_does_not_count_the_padding():
    x = torch.rand(2, 5, 7, 6) - 2  # negative, so that counting the zeros of the padding would change both results
    assert_close(avg_pool3x3(x), counted_mean(x))
    assert_close(max_pool3x3(x), highest(x))


def test_folding_the_norms_changes_nothing_but_rounding(
    random_weights: dict[str, Tensor], x: Tensor, given: dict[str, Tensor]
):
    plain = Inception()
    plain.load_state_dict(random_weights, strict=False)
    features = plain(x[:1])
    assert (features - given["features"][:1]).norm() / features.norm() < 1e-5
    # The epsilon of the norms is no rounding: with PyTorch's own the features are others.
    assert EPSILON == 1e-3
    for part in plain.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 1e-5
    assert (features - plain(x[:1])).norm() / features.norm() > 1e-3


def test_logits_without_bias_differ_by_the_bias_alone(network: Inception, given: dict[str, Tensor]):
    assert_close(network.fc(given["features"]) - network.fc.bias, network.logits_without_bias(given["features"]))


def test_the_network_leaves_its_input_and_the_random_state_alone(
    network: Inception, x: Tensor, given: dict[str, Tensor]
):
    images = x.clone()
    alone = network(images[1:])
    assert_close(alone, given["features"][1:], rtol=1e-4, atol=1e-5)
    assert torch.equal(images, x)
    assert not alone.requires_grad
    assert not any(weights.requires_grad for weights in Inception().parameters())
