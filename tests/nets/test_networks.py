"""What every network promises: net(x, c_noise, labels) -> y of x's shape, for images of any shape that fits."""

import pytest
import torch
from torch import Tensor, nn

from limpid.nets import DiT, Network, UNet

CLASSES = 4
NETWORKS: dict[str, Network] = {
    "ddpm": UNet(8, (1, 2), 1, (8,), dropout=0.1),
    "uneven": UNet(8, (1, 2), (1, 2), (8,), dropout=0.0),
    "patched": UNet(8, (1, 2, 2), 1, (4,), dropout=0.0, patch_size=2),
    "adm": UNet(8, (1, 2), 1, (8,), dropout=0.1, scale_shift=True, head_channels=4, resample="biggan"),
    "iddpm": UNet(8, (1, 2), 1, (8,), dropout=0.1, scale_shift=True, head_channels=4, arch="iddpm"),
    "groups, fourier": UNet(8, (1, 2), 1, (8,), dropout=0.1, norm_num_groups=4, fourier_std=1.0),
    "ddpmpp": UNet(8, (2, 2), 1, (8,), dropout=0.1, resample="biggan", arch="ddpmpp"),
    "ncsnpp": UNet(8, (2, 2), 1, (8,), dropout=0.1, resample="biggan", arch="ncsnpp"),
    "dit": DiT(patch_size=4, hidden_size=16, depth=2, num_heads=2),
}
pytestmark = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def built(network: Network, shape: tuple[int, int, int] = (3, 16, 16), classes: int = CLASSES) -> nn.Module:
    """A network moved away from its beginning, where it answers zero whatever it is example_inputs."""
    torch.manual_seed(0)
    net = network.build(shape, classes)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return net.eval()


def channels_last(net: nn.Module) -> nn.Module:
    """The network with its weights laid out as the maps are."""
    return net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (unknown to torch's stubs)


def example_inputs(shape: tuple[int, int, int] = (3, 16, 16)) -> tuple[Tensor, Tensor, Tensor]:
    """Three images, their levels and their labels."""
    torch.manual_seed(1)
    return torch.randn(3, *shape), torch.tensor([-1.2, 0.0, 500.0]), torch.tensor([0, 2, CLASSES])


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 16, 16), (4, 16, 16), (3, 16, 24), (3, 32, 16), (2, 16, 64)])
def test_the_output_has_the_shape_of_the_input(network: Network, shape: tuple[int, int, int]):
    x, c_noise, labels = example_inputs(shape)
    assert built(network, shape)(x, c_noise, labels).shape == x.shape


@torch.no_grad()
def test_the_level_and_the_label_change_the_output(network: Network):
    net, (x, c_noise, labels) = built(network), example_inputs()
    y = net(x, c_noise, labels)
    assert ((net(x, c_noise + 1, labels) - y).abs().amax(dim=(1, 2, 3)) > 1e-3).all()
    assert ((net(x, c_noise, (labels + 1) % CLASSES) - y).abs().amax(dim=(1, 2, 3)) > 1e-3).all()


@torch.no_grad()
def test_no_label_is_the_last_row_of_the_table(network: Network):
    net, (x, c_noise, _) = built(network), example_inputs()
    torch.testing.assert_close(net(x, c_noise, None), net(x, c_noise, torch.full((3,), CLASSES)))


def test_labels_given_to_an_unconditional_network_are_refused(network: Network):
    net, (x, c_noise, labels) = built(network, classes=0), example_inputs()
    assert net(x, c_noise, None).shape == x.shape
    with pytest.raises(ValueError, match="labels were given to a network without classes"):
        net(x, c_noise, labels)


@torch.no_grad()
def test_the_output_of_an_image_does_not_depend_on_its_batch(network: Network):
    net, (x, c_noise, labels) = built(network), example_inputs()
    alone = torch.cat([net(x[i : i + 1], c_noise[i : i + 1], labels[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(net(x, c_noise, labels), alone, rtol=1e-4, atol=1e-4)


def test_every_parameter_receives_a_gradient(network: Network):
    net, (x, c_noise, labels) = built(network).train(), example_inputs()
    net(x, c_noise, labels).square().mean().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("gradients", [False, True], ids=["outputs", "gradients"])
def test_bfloat16_agrees_with_float32(network: Network, gradients: bool):
    net, (x, c_noise, labels) = channels_last(built(network)), example_inputs()
    x = x.contiguous(memory_format=torch.channels_last)

    def run(enabled: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = net(x, c_noise, labels).float()
        if not gradients:
            return y.detach()
        grads = torch.autograd.grad(y.square().mean(), list(net.parameters()))
        return torch.cat([grad.flatten() for grad in grads])

    exact = run(False)
    assert (run(True) - exact).norm() < 0.03 * exact.norm()


@torch.no_grad()
def test_all_feature_maps_are_channels_last(network: Network):
    net, (x, c_noise, labels) = channels_last(built(network)), example_inputs()
    for name, part in net.named_modules():
        if isinstance(part, nn.Conv2d):

            def check(_: nn.Module, given: tuple[Tensor], output: Tensor, name: str = name) -> None:
                for map in (*given, output):
                    assert map.is_contiguous(memory_format=torch.channels_last), f"{name}: strides {map.stride()}"

            part.register_forward_hook(check)
    net(x.contiguous(memory_format=torch.channels_last), c_noise, labels)


def test_it_compiles_into_one_graph_to_train(network: Network):
    torch.compiler.reset()  # what was compiled for the other networks counts against torch's limit for each function
    net, (x, c_noise, labels) = built(network).train(), example_inputs()
    output = torch.compile(net, fullgraph=True, backend="eager")(x, c_noise, labels)
    if not isinstance(network, UNet) or network.dropout == 0:  # the dropout of a CPU takes other random numbers
        torch.testing.assert_close(output, net(x, c_noise, labels))
    output.square().mean().backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_equal_configurations_of_equal_seeds_build_equal_networks(network: Network):
    first, second = built(network).state_dict(), built(network).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_size_that_does_not_fit_is_refused(network: Network):
    with pytest.raises(ValueError, match="expected multiples of"):
        network.build((3, 17, 16), 0)
