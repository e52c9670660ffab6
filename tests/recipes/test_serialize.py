import json
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from limpid.cli.option_list import union_options
from limpid.cli.parser import parse
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Ddim, Heun
from limpid.diffusion.schedules import Cosine
from limpid.nets import DiT, UNet
from limpid.optim.optimizers import AdamW, Muon
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import RECIPES, find_recipe
from limpid.recipes.serialize import from_dict, match_choice, to_dict


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_being_written_as_json(name: str):
    recipe = RECIPES[name]()
    assert from_dict(Recipe, json.loads(json.dumps(to_dict(recipe)))) == recipe


def test_missing_fields_are_those_of_the_default():
    recipe = from_dict(Recipe, {"batch": 7, "schedule": {"T": 50}, "sampling": {"sampler": "Heun"}})
    assert (recipe.batch_size, recipe.schedule.T, recipe.schedule.beta_end) == (7, 50, 0.02)
    assert recipe.sampling.sampler == Heun()


def test_another_kind_starts_from_its_own_defaults():
    plain = {"schedule": {"kind": "Cosine"}, "sampling": {"sampler": {"kind": "Ddim", "eta": 1}}}
    recipe = from_dict(Recipe, plain)
    assert recipe.schedule == Cosine()
    assert recipe.sampling.sampler == Ddim(1.0)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"shedule": {}}, "no field of recipe 'shedule': choose from .*; did you mean schedule?"),
        ({"batch": "many"}, "recipe.batch_size is 'many': expected a whole number"),
        ({"batch": True}, "recipe.batch_size is True: expected a whole number"),
        ({"batch": 1.5}, "recipe.batch_size is 1.5: expected a whole number"),
        ({"label_dropout": "x"}, "recipe.label_dropout is 'x': expected a number"),
        ({"conditional": 1}, "recipe.class_conditional is 1: expected true or false"),
        ({"schedule": {"kind": "Cosin"}}, "no recipe.schedule 'Cosin': choose from .*; did you mean Cosine?"),
        ({"schedule": 3}, "recipe.schedule is 3: expected one of LinearBeta"),
        ({"schedule": {"kind": 3}}, "recipe.schedule needs a kind: choose from LinearBeta"),
        ({"optimizer": {"decay": "slow"}}, "recipe.optimizer.lr_schedule is 'slow': expected one of 'none'"),
        ({"optimizer": {"betas": [0.9]}}, "expected 2 values"),
        ({"optimizer": {"betas": 0.9}}, "expected a list"),
        ({"optimizer": 1}, "recipe.optimizer is 1: expected one of AdamW, Muon"),
        ({"network": {"blocks": "x"}}, "recipe.network.num_blocks is 'x': expected a whole number"),
        ({"network": {"blocks": ["x"]}}, r"recipe.network.num_blocks.* is 'x': expected a whole number"),
        ([], r"recipe is \[\]: expected a table"),
    ],
)
def test_a_mistake_is_named_with_its_field(plain, message: str):
    with pytest.raises(ValueError, match=message):
        from_dict(Recipe, plain)


@pytest.mark.parametrize(
    ("plain", "network"),
    [
        ({"kind": "UNet", "patch": 2, "width": 32}, UNet(patch_size=2, model_channels=32)),
        ({"kind": "DiT", "patch": 4, "width": 48, "heads": 2}, DiT(patch_size=4, hidden_size=48, num_heads=2)),
    ],
)
def test_a_network_of_version_0_1_is_read_by_its_old_field_names(plain: dict[str, Any], network: UNet | DiT):
    assert from_dict(Recipe, {"network": plain}).network == network


@pytest.mark.parametrize(("weight", "scale"), [(0, 1), (0.0, 1.0), (0.5, 1.5), (2.0, 3.0), (-1.0, 0.0), (0.7, 1.7)])
def test_a_guidance_weight_of_version_0_1_is_read_as_the_scale_one_higher(weight: float, scale: float):
    plain = {"sampling": {"guidance": {"kind": "Guidance", "weight": weight, "low": 0.2, "high": "inf"}}}
    assert from_dict(Recipe, plain).sampling.guidance == Guidance(scale, sigma_lo=0.2)


@pytest.mark.parametrize("weight", [True, "x", None, [], 10**400])
def test_a_guidance_weight_that_is_no_number_is_named_as_the_scale(weight: Any):
    with pytest.raises(ValueError, match=r"guidance\.scale is .*: expected a number"):
        from_dict(Guidance, {"weight": weight}, "guidance")


def test_a_field_of_one_or_several_numbers_is_read_as_it_was_written():
    for blocks in (2, (1, 2, 2, 2)):
        recipe = Recipe(network=UNet(num_blocks=blocks))
        assert from_dict(Recipe, json.loads(json.dumps(to_dict(recipe)))) == recipe


def test_a_choice_may_be_written_in_any_case():
    assert match_choice("sampler", "heun", ["Ddim", "Heun"]) == "Heun"


def test_a_recipe_file_may_hold_only_what_differs(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "demo"\nbatch = 8\n[schedule]\nkind = "Cosine"\nT = 100\n')
    recipe = find_recipe(str(path))
    assert (recipe.batch_size, recipe.schedule, recipe.network) == (8, Cosine(T=100), RECIPES["demo"]().network)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.toml", "batch = = 3", "cannot read the recipe"),
        ("broken.json", "{", "cannot read the recipe"),
        ("based.toml", 'base = "cifar"', "no recipe 'cifar': choose from demo"),
        ("list.json", "[]", "expected a table"),
    ],
)
def test_a_broken_recipe_file_is_one_clear_line(tmp_path, name: str, content: str, message: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        find_recipe(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_a_missing_recipe_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="did you mean cifar10-small"):
        find_recipe("cifar10_smal")
    with pytest.raises(ValueError, match="is a folder without"):
        find_recipe(str(tmp_path))
    with pytest.raises(ValueError, match=r"cannot read the recipe .*none\.toml: No such file or directory$"):
        find_recipe(str(tmp_path / "none.toml"))


def toml_from(plain: dict[str, Any], where: str = "") -> str:
    """A table as TOML writes it."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in plain.items() if not isinstance(value, dict)]
    tables = [toml_from(value, f"{where}{name}.") for name, value in plain.items() if isinstance(value, dict)]
    return "\n".join([f"[{where[:-1]}]" if where else "", *lines, *tables])


def choices_of_kind() -> list[tuple[str, str, str]]:
    """Two recipes with few defaults in common, every field of them that has a kind, and every kind of it."""
    return [
        (name, option, kind)
        for name in ("demo", "cifar10-iddpm")
        for option, choice in union_options(RECIPES[name]()).items()
        for kind in choice.members
    ]


@pytest.mark.parametrize(("base", "option", "kind"), choices_of_kind())
def test_a_kind_chosen_on_the_command_line_is_that_chosen_in_a_file(base: str, option: str, kind: str, tmp_path: Path):
    plain: dict[str, Any] = {"kind": kind}
    for attribute in reversed(union_options(RECIPES[base]())[option].attributes):
        plain = {attribute: plain}
    (tmp_path / "mine.toml").write_text(toml_from({"base": base} | plain))
    assert parse(RECIPES[base](), [option, kind], "limpid train") == find_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("base", ["demo", "cifar10-small", "cifar10", "cifar10-iddpm"])
def test_choosing_the_kind_of_the_recipe_changes_nothing(base: str):
    recipe = RECIPES[base]()
    for option, choice in union_options(recipe).items():
        here = reduce(getattr, choice.attributes, recipe)
        assert parse(recipe, [option, type(here).__name__], "limpid train") == recipe


def test_adam_is_read_as_adamw_and_muon_is_another_optimizer():
    assert from_dict(Recipe, {"optimizer": "Adam"}, default=RECIPES["cifar10-small"]()).optimizer == AdamW()
    assert parse(RECIPES["cifar10-small"](), ["--optimizer", "AdamW"], "limpid train").optimizer == AdamW()
    assert not issubclass(Muon, AdamW)
