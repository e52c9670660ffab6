"""Random recipes within their types: each is trained and sampled, or refused in one line.

130 are tried; `LIMPID_FUZZ=20000` tries so many.
"""

import math
import os
import random
import traceback
from dataclasses import MISSING, fields, is_dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from tiny_recipes import CPU

from limpid.data import Digits, InMemory
from limpid.diffusion.schedules import (
    Karras,
    LinearBeta,
    LogNormal,
    ScaledLinearBeta,
    Schedule,
    ShiftedSnr,
    Sigmoid,
    VpSde,
    ZeroTerminalSnr,
)
from limpid.nets import DiT, OwnNetwork, UNet
from limpid.recipes.recipe import Recipe, Sampling
from limpid.recipes.serialize import from_dict, to_dict, union_members
from limpid.sampling.pipeline import Pipeline
from limpid.training.loop import training_loop
from limpid.training.preflight import preflight
from limpid.training.state import init_state

COUNT = int(os.environ.get("LIMPID_FUZZ", "130"))
WHOLE = (0, 1, 2, 3, 4, 8, 16, 50, 1000, -1)
NUMBERS = (0.0, 1e-9, 1e-3, 0.1, 0.5, 0.9, 1.0, 2.0, 7.5, 80.0, 1e6, -0.5, float("inf"))
LENGTHS = (0, 1, 2, 2, 3)
USUAL = 0.95
"""How often a field keeps its default: else hardly a recipe would be trained."""

FROM_PYTHON = (InMemory, OwnNetwork)


def random_value(kind: Any, draw: random.Random, usual: Any = MISSING) -> Any:
    """A value of a type, or the usual one."""
    if usual is not MISSING and draw.random() < USUAL and not (is_dataclass(kind) or union_members(kind)):
        return usual
    if members := {name: member for name, member in union_members(kind).items() if member not in FROM_PYTHON}:
        member = (
            type(usual) if draw.random() < 0.3 and type(usual) in members.values() else draw.choice([*members.values()])
        )
        return random_value(member, draw, usual)
    if is_dataclass(kind):
        return drawn_fields(kind, draw, usual)
    if get_origin(kind) is Literal:
        return draw.choice(get_args(kind))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        kinds = [inner[0]] * draw.choice(LENGTHS) if inner[-1:] == (...,) else inner
        return tuple(random_value(one, draw) for one in kinds)
    if len(get_args(kind)) > 1:  # one of something, or several
        return random_value(draw.choice(get_args(kind)), draw)
    choices = {int: WHOLE, float: NUMBERS, bool: (False, True), str: ("",)}
    return draw.choice(choices[kind])


def drawn_fields(kind: Any, draw: random.Random, usual: Any) -> Any:
    hints, found = get_type_hints(kind), {}
    for spec in fields(kind):
        made = spec.default_factory() if spec.default_factory is not MISSING else spec.default
        found[spec.name] = random_value(hints[spec.name], draw, getattr(usual, spec.name, made))
    return kind(**found)


def recipe_of(number: int) -> Recipe:
    """The random recipe of this number: small enough to be trained in a moment. Raises ValueError if it is refused."""
    draw = random.Random(number)
    found = random_value(Recipe, draw)
    data = Digits(size=draw.choice((8, 8, 8, 9, 16)))
    network = found.network
    if isinstance(network, DiT):
        width, depth = min(network.hidden_size, 48), min(network.depth, 2)
        network = replace(network, patch_size=min(network.patch_size, 8), hidden_size=width, depth=depth)
    else:
        few = tuple(min(one, 2) for one in network.channel_mult[:2])
        attention = tuple(draw.choice((4, 8)) for _ in network.attn_resolutions)
        blocks = 1 if network.num_blocks == 2 else network.num_blocks
        network = replace(
            network,
            model_channels=min(network.model_channels, 16),
            channel_mult=few,
            attn_resolutions=attention,
            num_blocks=blocks,
        )
    sampling = replace(found.sampling, steps=min(found.sampling.steps, 3))
    return replace(
        found,
        duration=max(found.duration % 100, 1),
        batch_size=min(found.batch_size, 16),
        data=data,
        network=network,
        sampling=sampling,
    )


def trained_and_drawn(recipe: Recipe) -> None:
    """All that a run does with a recipe, in short."""
    assert from_dict(Recipe, to_dict(recipe)) == recipe
    source = recipe.data.open("cpu")
    preflight(recipe, source.shape, len(source.class_names), CPU)
    state = init_state(recipe, source.shape, len(source.class_names), CPU)
    list(islice(training_loop(state, recipe, source, CPU), 2))
    labels = [0, 1] if recipe.class_conditional else None
    pipeline = Pipeline(state.ema, recipe, source.shape, runtime=CPU)
    for sampling in (pipeline, pipeline.for_preview()):
        pixels = torch.cat(list(sampling.sample_batches([0, 1], labels)))
        assert pixels.shape == (2, *source.shape)


def refused_well(error: ValueError | FloatingPointError) -> None:
    """Refusals are limpid's own, in one line: what Python or torch says tells nobody what to change."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    assert "limpid" in Path(frame.filename).parts, f"{error!r} at {frame.filename}:{frame.lineno}"
    assert str(error).isprintable()
    assert 10 < len(str(error)) < 600


@pytest.mark.parametrize("part", range(5))
def test_a_random_recipe_is_trained_and_sampled_or_refused_in_one_line(part: int):
    pipeline = 0
    for number in range(part * COUNT // 5, (part + 1) * COUNT // 5):
        try:
            trained_and_drawn(recipe_of(number))
            pipeline += 1
        except (ValueError, FloatingPointError) as error:
            refused_well(error)
        except Exception as error:
            raise AssertionError(f"recipe {number} gave a traceback") from error
    assert pipeline > 0, "all were refused: what is tested then?"


@pytest.mark.parametrize(
    "schedule",
    [
        LinearBeta(beta_start=2.0),
        LinearBeta(beta_start=-0.5, beta_end=-0.1),
        LinearBeta(beta_start=0.0, beta_end=0.0),
        ScaledLinearBeta(beta_start=-0.5),
        ZeroTerminalSnr(LinearBeta(beta_start=2.0)),
        VpSde(beta_min=math.inf),
        Sigmoid(tau=0.0),
        LogNormal(mean=math.inf),
        LogNormal(std=-1.0),
        Karras(sigma_max=math.inf),
        Karras(rho=0.0),
        Karras(sigma_min=80.0, sigma_max=0.1),
        ShiftedSnr(factor=-1.0),
        ShiftedSnr(factor=0.0),
    ],
    ids=repr,
)
def test_a_schedule_without_levels_is_refused_with_the_recipe_and_in_sampling(schedule: Schedule):
    with pytest.raises(ValueError, match=f"{type(schedule).__name__}.* has no levels: expected numbers") as error:
        Recipe(schedule=schedule)
    refused_well(error.value)
    with pytest.raises(ValueError, match="has no levels"):
        Recipe(sampling=Sampling(schedule=schedule))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (UNet(num_blocks=(), channel_mult=(1,)), r"blocks \(\): expected at most 100, for 1 levels"),
        (UNet(head_channels=-32), r"head_channels -32: expected a divisor of model_channels, 128, or 0"),
    ],
)
def test_a_network_that_cannot_be_is_refused(network: UNet, message: str):
    with pytest.raises(ValueError, match=message):
        network.build((3, 32, 32), 0)
