"""DDPM's network (Ho et al. 2020, appendix B) as it is commonly written in PyTorch: what many projects train with.

Channels first, float32, a module for every function, three convolutions for query, key and value, each block with a
projection of its own. A peer for measurements: the same layers and weights as limpid's `cifar10`, 35.7M of them.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Swish(nn.Module):
    """x sigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class TimeEmbedding(nn.Module):
    """A table of sinusoids, and two layers on it."""

    def __init__(self, T: int, width: int, out: int):
        super().__init__()
        rates = torch.exp(torch.arange(0, width, 2) / width * -math.log(10_000))
        angles = torch.arange(T)[:, None] * rates[None]
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        self.layers = nn.Sequential(
            nn.Embedding.from_pretrained(table), nn.Linear(width, out), Swish(), nn.Linear(out, out)
        )

    def forward(self, t: Tensor) -> Tensor:
        return self.layers(t)


class Attention(nn.Module):
    """Every pixel attends to every other."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(32, channels)
        self.q, self.k, self.v, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y = self.norm(x)
        q = self.q(y).permute(0, 2, 3, 1).view(b, h * w, c)
        k = self.k(y).view(b, c, h * w)
        weights = F.softmax(torch.bmm(q, k) * c**-0.5, dim=-1)
        v = self.v(y).permute(0, 2, 3, 1).view(b, h * w, c)
        y = torch.bmm(weights, v).view(b, h, w, c).permute(0, 3, 1, 2)
        return x + self.out(y)


class Residual(nn.Module):
    """Two convolutions, the time between them, and attention where the level has some."""

    def __init__(self, channels_in: int, channels: int, time_channels: int, dropout: float, attention: bool):
        super().__init__()
        self.block1 = nn.Sequential(
            nn.GroupNorm(32, channels_in), Swish(), nn.Conv2d(channels_in, channels, 3, padding=1)
        )
        self.time = nn.Sequential(Swish(), nn.Linear(time_channels, channels))
        self.block2 = nn.Sequential(
            nn.GroupNorm(32, channels), Swish(), nn.Dropout(dropout), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.shortcut = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()
        self.attention = Attention(channels) if attention else nn.Identity()

    def forward(self, x: Tensor, time_embedding: Tensor) -> Tensor:
        y = self.block1(x)
        y = y + self.time(time_embedding)[:, :, None, None]
        return self.attention(self.block2(y) + self.shortcut(x))


class Down(nn.Module):
    """A convolution of stride 2."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, time_embedding: Tensor) -> Tensor:
        return self.conv(x)


class Up(nn.Module):
    """Every pixel repeated, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, time_embedding: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class CommonUNet(nn.Module):
    """The network for 32x32 RGB: 128 channels x (1, 2, 2, 2), two blocks, attention at 16x16."""

    def __init__(self, dropout: float = 0.0, T: int = 1000):
        super().__init__()
        width, multipliers, blocks, attention = 128, (1, 2, 2, 2), 2, (1,)
        time_channels = 4 * width
        self.time = TimeEmbedding(T, width, time_channels)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, channels = [width], width
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.down.append(Residual(channels, width * multiplier, time_channels, dropout, level in attention))
                channels = width * multiplier
                skips.append(channels)
            if level + 1 < len(multipliers):
                self.down.append(Down(channels))
                skips.append(channels)
        self.middle = nn.ModuleList([Residual(channels, channels, time_channels, dropout, a) for a in (True, False)])
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                self.up.append(
                    Residual(skips.pop() + channels, width * multiplier, time_channels, dropout, level in attention)
                )
                channels = width * multiplier
            if level:
                self.up.append(Up(channels))
        self.tail = nn.Sequential(nn.GroupNorm(32, channels), Swish(), nn.Conv2d(channels, 3, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time_embedding = self.time(t)
        x = self.head(x)
        skips = [x]
        for layer in self.down:
            x = layer(x, time_embedding)
            skips.append(x)
        for layer in self.middle:
            x = layer(x, time_embedding)
        for layer in self.up:
            if isinstance(layer, Residual):
                x = torch.cat([x, skips.pop()], dim=1)
            x = layer(x, time_embedding)
        return self.tail(x)
