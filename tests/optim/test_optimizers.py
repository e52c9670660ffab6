"""The learning rate over a run."""

from itertools import pairwise

import pytest

from limpid.optim.optimizers import AdamW, Muon, lr_at


@pytest.mark.parametrize("kind", [AdamW, Muon])
@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_the_learning_rate_rises_and_then_falls(decay, kind: type[AdamW] | type[Muon]):
    optimizer = kind(lr=1.0, warmup_images=100, lr_schedule=decay)
    lrs = [lr_at(optimizer, images_seen, 1000) for images_seen in range(1, 1001)]
    assert lrs[49] == pytest.approx(0.5, rel=0.1)
    assert max(lrs) <= 1.0
    assert lrs[-1] == pytest.approx(1.0 if decay == "none" else 0.0)
    assert all(a >= b for a, b in pairwise(lrs[100:]))
