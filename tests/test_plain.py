import json

import pytest

from limpid.diffusion.samplers import Ddim, Heun
from limpid.diffusion.schedules import Cosine
from limpid.nets import UNet
from limpid.plain import choose, from_plain, to_plain
from limpid.recipe import Recipe
from limpid.recipes import RECIPES, find


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_being_written_as_json(name: str):
    recipe = RECIPES[name]()
    assert from_plain(Recipe, json.loads(json.dumps(to_plain(recipe)))) == recipe


def test_missing_fields_are_those_of_the_default():
    recipe = from_plain(Recipe, {"batch": 7, "schedule": {"T": 50}, "sampling": {"sampler": "Heun"}})
    assert (recipe.batch, recipe.schedule.T, recipe.schedule.beta_end) == (7, 50, 0.02)
    assert recipe.sampling.sampler == Heun()


def test_another_kind_starts_from_its_own_defaults():
    plain = {"schedule": {"kind": "Cosine"}, "sampling": {"sampler": {"kind": "Ddim", "eta": 1}}}
    recipe = from_plain(Recipe, plain)
    assert recipe.schedule == Cosine()
    assert recipe.sampling.sampler == Ddim(1.0)


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"shedule": {}}, "no field of recipe 'shedule': choose from .*; did you mean schedule?"),
        ({"batch": "many"}, "recipe.batch is 'many': expected a whole number"),
        ({"batch": True}, "recipe.batch is True: expected a whole number"),
        ({"batch": 1.5}, "recipe.batch is 1.5: expected a whole number"),
        ({"label_dropout": "x"}, "recipe.label_dropout is 'x': expected a number"),
        ({"conditional": 1}, "recipe.conditional is 1: expected true or false"),
        ({"schedule": {"kind": "Cosin"}}, "no recipe.schedule 'Cosin': choose from .*; did you mean Cosine?"),
        ({"schedule": 3}, "recipe.schedule is 3: expected one of LinearBeta"),
        ({"schedule": {"kind": 3}}, "recipe.schedule needs a kind: choose from LinearBeta"),
        ({"optimizer": {"decay": "slow"}}, "recipe.optimizer.decay is 'slow': expected one of 'none'"),
        ({"optimizer": {"betas": [0.9]}}, "expected 2 values"),
        ({"optimizer": {"betas": 0.9}}, "expected a list"),
        ({"optimizer": 1}, "recipe.optimizer is 1: expected one of Adam, Muon"),
        ({"network": {"blocks": "x"}}, "recipe.network.blocks is 'x': expected a whole number"),
        ({"network": {"blocks": ["x"]}}, r"recipe.network.blocks.* is 'x': expected a whole number"),
        ([], r"recipe is \[\]: expected a table"),
    ],
)
def test_a_mistake_is_named_with_its_place(plain, said: str):
    with pytest.raises(ValueError, match=said):
        from_plain(Recipe, plain)


def test_what_may_be_one_or_several_is_read_as_it_is_written():
    for blocks in (2, (1, 2, 2, 2)):
        recipe = Recipe(network=UNet(blocks=blocks))
        assert from_plain(Recipe, json.loads(json.dumps(to_plain(recipe)))) == recipe


def test_a_choice_may_be_written_in_any_case():
    assert choose("sampler", "heun", ["Ddim", "Heun"]) == "Heun"


def test_a_recipe_file_may_hold_only_what_differs(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "demo"\nbatch = 8\n[schedule]\nkind = "Cosine"\nT = 100\n')
    recipe = find(str(path))
    assert (recipe.batch, recipe.schedule, recipe.network) == (8, Cosine(T=100), RECIPES["demo"]().network)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("broken.toml", "batch = = 3", "cannot read the recipe"),
        ("broken.json", "{", "cannot read the recipe"),
        ("based.toml", 'base = "cifar"', "no recipe 'cifar': choose from demo"),
        ("list.json", "[]", "expected a table"),
    ],
)
def test_a_broken_recipe_file_is_one_clear_line(tmp_path, name: str, content: str, said: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=said) as error:
        find(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_a_missing_recipe_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="did you mean cifar10-small"):
        find("cifar10_smal")
    with pytest.raises(ValueError, match="not a run"):
        find(str(tmp_path))
    with pytest.raises(ValueError, match="cannot read the recipe"):
        find(str(tmp_path / "none.toml"))
