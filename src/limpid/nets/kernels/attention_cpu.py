"""Attention, with a backward pass that is fast on a CPU."""

import torch
import torch.nn.functional as F

from limpid.nets.types import Heads


def attend(q: Heads, k: Heads, v: Heads) -> Heads:
    """softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, eq. 1)."""
    if q.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v)
    # On CPUs the fused kernel is fast forward and slow backward: two matrix products take less time in total.
    b, heads = q.shape[:2]
    q, k, v = q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)
    weights = torch.softmax(torch.bmm(q * q.shape[-1] ** -0.5, k.mT), dim=-1)
    return torch.bmm(weights, v).unflatten(0, (b, heads))
