"""The transformer of Peebles and Xie (2022) with adaLN-Zero: patches are tokens, and the embedding scales, shifts and
gates every branch."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from limpid.nets.blocks import ConditioningEmbedding, check_divisible
from limpid.nets.kernels.attention_cpu import attend
from limpid.nets.types import ImageBatch

Tokens = Float[Tensor, "b n d"]

MAX_DIT_BLOCKS = 1000
"""Limit of `depth`: more is a mistake, or a forged checkpoint that would take hours to build."""


@dataclass(frozen=True)
class DiT:
    """A diffusion transformer; the defaults are DiT-S/2, with 32.5M parameters."""

    patch_size: int = 2
    """Side of the square patches of pixels that become tokens."""
    hidden_size: int = 384
    """Channels of each token."""
    depth: int = 12
    """Number of blocks."""
    num_heads: int = 6
    """Attention heads of each block."""

    def build(self, shape: tuple[int, int, int], num_classes: int, out_multiplier: int = 1) -> nn.Module:
        """The network for images of `shape` (channels, height, width), untrained.

        Its output has `out_multiplier` times the channels of its input.
        Raises ValueError if the image is no multiple of `patch_size`, or `hidden_size` none of 4 and of `num_heads`.
        """
        if self.depth > MAX_DIT_BLOCKS:
            raise ValueError(f"depth {self.depth}: expected at most {MAX_DIT_BLOCKS} blocks")
        numbers = {name: getattr(self, name) for name in ("patch_size", "hidden_size", "depth", "num_heads")}
        if min(numbers.values()) < 1 or self.hidden_size % 4 or self.hidden_size % self.num_heads:
            given = ", ".join(f"{name} {number}" for name, number in numbers.items())
            raise ValueError(f"{given}: expected numbers from 1 up, and hidden_size a multiple of 4 and of num_heads")
        check_divisible(shape, self.patch_size)
        net = DiTModule(self, shape, num_classes, out_multiplier)
        init_dit(net)
        return net


class DiTBlock(nn.Module):
    """Attention, then an MLP; the embedding scales and shifts the norm before each, and gates the output of each."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tokens, emb: Float[Tensor, "b _"]) -> Tokens:
        """The next tokens; `emb` holds shift, scale and gate for the attention, then for the MLP."""
        shift1, scale1, gate1, shift2, scale2, gate2 = emb[:, None].chunk(6, dim=2)
        x = x + gate1 * self.attention(modulate(x, shift1, scale1))
        return x + gate2 * self.mlp(modulate(x, shift2, scale2))

    def attention(self, x: Tokens) -> Tokens:
        """Self-attention among the tokens."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(attend(q, k, v).transpose(1, 2).flatten(2))


def modulate(x: Tokens, shift: Float[Tensor, "b 1 d"], scale: Float[Tensor, "b 1 d"]) -> Tokens:
    """The layer norm of `x`, scaled and shifted."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)


class DiTModule(nn.Module):
    """The network built by `DiT`: net(x, c_noise, labels) -> y."""

    positions: Float[Tensor, "n d"]

    def __init__(self, config: DiT, shape: tuple[int, int, int], classes: int, out_multiplier: int):
        super().__init__()
        channels, height, width = shape
        self.grid = (height // config.patch_size, width // config.patch_size)
        self.embedding = ConditioningEmbedding(
            256, config.hidden_size, classes, [6 * config.hidden_size] * config.depth + [2 * config.hidden_size]
        )
        self.enter = nn.Conv2d(channels, config.hidden_size, config.patch_size, stride=config.patch_size)
        with torch.device("cpu"):  # also if the network is built on the meta device: see `label_table`
            self.register_buffer("positions", sincos_2d(*self.grid, config.hidden_size), persistent=False)
        self.blocks = nn.ModuleList(DiTBlock(config.hidden_size, config.num_heads) for _ in range(config.depth))
        self.leave = nn.Linear(config.hidden_size, out_multiplier * channels * config.patch_size**2)
        self.shuffle = nn.PixelShuffle(config.patch_size)

    def forward(self, x: ImageBatch, c_noise: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None) -> ImageBatch:
        """The output for each image of `x`, conditioned on its noise level and its label."""
        emb = iter(self.embedding(c_noise, labels))
        tokens = self.enter(x).flatten(2).mT + self.positions
        for block in self.blocks:
            tokens = block(tokens, next(emb))
        shift, scale = next(emb)[:, None].chunk(2, dim=2)
        y = self.leave(modulate(tokens, shift, scale))
        return self.shuffle(y.mT.unflatten(2, self.grid))


def sincos_2d(height: int, width: int, channels: int) -> Float[Tensor, "n c"]:
    """Position embeddings of the tokens, row by row: half the channels encode the column, half the row, each by sines,
    then cosines."""
    frequencies = 10_000 ** -torch.linspace(0, 1, channels // 4 + 1)[:-1]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = [position.reshape(-1, 1) * frequencies for position in (columns, rows)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)


def init_dit(net: DiTModule) -> None:
    """Initialize the weights as in the paper: Xavier uniform; normal for the embedding; zero for every bias, the last
    layer, and the layer that computes gates, scales and shifts, so that every block starts as the identity."""
    for name, bias in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(bias)
    for part in net.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.flatten(1))
    for part in net.embedding.modules():
        if isinstance(part, nn.Linear | nn.Embedding) and not part.weight.is_meta:
            nn.init.normal_(part.weight, std=0.02)
    nn.init.zeros_(net.embedding.to_modulation.weight)
    nn.init.zeros_(net.leave.weight)
