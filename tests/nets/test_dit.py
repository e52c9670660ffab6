"""The transformer is the published one: the same numbers as an independent implementation with the same weights."""

import torch
from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel
from torch import Tensor

from limpid.nets import DiT
from limpid.nets.dit import sincos_2d

BLOCK = {
    "qkv": ["attn1.to_q", "attn1.to_k", "attn1.to_v"],
    "out": ["attn1.to_out.0"],
    "mlp.0": ["ff.net.0.proj"],
    "mlp.2": ["ff.net.2"],
}
ENDS = {
    "embedding.mlp.0": ["transformer_blocks.0.norm1.emb.timestep_embedder.linear_1"],
    "embedding.mlp.2": ["transformer_blocks.0.norm1.emb.timestep_embedder.linear_2"],
    "embedding.labels": ["transformer_blocks.0.norm1.emb.class_embedder.embedding_table"],
    "embedding.to_modulation": ["transformer_blocks.0.norm1.linear", "transformer_blocks.1.norm1.linear", "proj_out_1"],
    "enter": ["pos_embed.proj"],
    "leave": ["proj_out_2"],
}


def copied(reference: dict[str, Tensor], patch_size: int) -> dict[str, Tensor]:
    """Their tensors of two blocks under our names; every one of them is used once."""
    # They hold the embedding once for each block, of which the first is used at the end as well: all are made equal.
    left, converted = {name: weight for name, weight in reference.items() if ".1.norm1.emb" not in name}, {}
    layers = ENDS | {
        f"blocks.{i}.{layer}": [f"transformer_blocks.{i}.{name}" for name in names_of_reference]
        for i in (0, 1)
        for layer, names_of_reference in BLOCK.items()
    }
    for layer, names_of_reference in layers.items():
        for kind in ("weight", "bias"):
            if parts := [left.pop(key) for name in names_of_reference if (key := f"{name}.{kind}") in left]:
                converted[f"{layer}.{kind}"] = torch.cat(parts)
    assert not left, f"weights without a place: {list(left)}"
    # Their sinusoid is cosines, then sines; the rows of their last layer are ordered pixel by pixel, here channel by
    # channel.
    converted["embedding.mlp.0.weight"] = converted["embedding.mlp.0.weight"].roll(128, dims=1)
    for kind in ("weight", "bias"):
        rows = converted[f"leave.{kind}"]
        converted[f"leave.{kind}"] = rows.unflatten(0, (patch_size**2, -1)).transpose(0, 1).reshape(rows.shape)
    return converted


@torch.no_grad()
def test_outputs_are_those_of_another_implementation():
    torch.manual_seed(0)
    reference = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=3,
        out_channels=3,
        num_layers=2,
        sample_size=16,
        patch_size=2,
        num_embeds_ada_norm=10,
        norm_eps=1e-6,
    ).eval()
    weights = reference.state_dict()
    weights |= {n.replace(".0.norm1.emb", ".1.norm1.emb"): w for n, w in weights.items() if ".0.norm1.emb" in n}
    reference.load_state_dict(weights)
    converted = DiT(patch_size=2, hidden_size=32, depth=2, num_heads=2).build((3, 16, 16), 10)
    converted.load_state_dict(copied(weights, patch_size=2))

    x, t, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 500, 999]), torch.tensor([0, 3, 9, 10])
    expected = reference(x, t, labels).sample
    assert expected.std() > 0.1
    torch.testing.assert_close(converted(x, t.float(), labels), expected, rtol=1e-5, atol=1e-5)


def test_every_token_of_a_grid_that_is_not_square_has_its_own_position_embedding():
    where = sincos_2d(3, 5, 8)
    assert where.shape == (15, 8)
    assert torch.cdist(where, where).add(torch.eye(15)).min() > 0.5
    rows, columns = where.unflatten(0, (3, 5))[..., 4:], where.unflatten(0, (3, 5))[..., :4]
    assert (rows == rows[:, :1]).all()
    assert (columns == columns[:1]).all()


@torch.no_grad()
def test_its_first_output_is_zero_and_every_block_begins_as_the_identity():
    net = DiT(2, 16, 2, 2).build((3, 8, 8), 0)
    assert (net(torch.randn(2, 3, 8, 8), torch.rand(2), None) == 0).all()
    block, x = net.get_submodule("blocks.0"), torch.randn(2, 16, 16)
    assert torch.equal(block(x, torch.zeros(2, 96)), x)
