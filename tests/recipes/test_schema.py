"""The schema of a dataclass: a form that is made of it and left as it is gives the defaults."""

from typing import Any, get_args

import pytest

from limpid.diffusion.schedules import Continuous, Discrete
from limpid.recipes.recipe import Recipe, Sampling
from limpid.recipes.schema import schema
from limpid.recipes.serialize import from_dict


def defaults(described: dict[str, Any]) -> Any:
    """The value of a form of a struct that is left as it is."""
    return {field["name"]: field["default"] for field in described["fields"]}


@pytest.mark.parametrize("kind", [Recipe, Sampling, *get_args(Discrete), *get_args(Continuous)])
def test_the_defaults_of_a_schema_are_those_of_its_class(kind: type):
    assert from_dict(kind, defaults(schema(kind))) == kind()


def test_every_member_of_a_family_is_described_with_its_fields_and_words():
    sampler = next(field for field in schema(Sampling)["fields"] if field["name"] == "sampler")
    eta = sampler["members"]["Ddim"]["fields"][0]
    assert eta == {"type": "float", "name": "eta", "doc": "", "default": 0.0}
    assert sampler["members"]["DpmSolverPP"]["fields"][0]["choices"] == [1, 2, 3]
    assert all(member["doc"] for member in sampler["members"].values())
    steps = schema(Sampling)["fields"][0]
    assert steps == {"type": "int", "name": "steps", "doc": "Steps of the sampler.", "default": 1000}
