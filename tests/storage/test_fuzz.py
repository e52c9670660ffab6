"""Recipes and checkpoints that somebody else made, or a disk: read rightly, or refused in one line that names the file.

A hundred inputs are tried of each kind; `LIMPID_FUZZ=20000` tries so many.
"""

import json
import os
import tracemalloc
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_recipes import CPU, TINY

from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import RECIPES, find_recipe
from limpid.recipes.serialize import from_dict, to_dict
from limpid.sampling.pipeline import load
from limpid.storage import checkpoint
from limpid.training.run import run

fuzz = settings(
    max_examples=int(os.environ.get("LIMPID_FUZZ", "100")),
    deadline=None,
    derandomize="LIMPID_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["inf", "Heun", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("kind"), inner, max_size=4)
    ),
    max_leaves=12,
)
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 30), VALUES), min_size=1, max_size=3)
HOW = st.sampled_from(["flip", "cut", "double", "put"])
SPOTS = st.lists(st.tuples(st.integers(0, 1 << 30), HOW, st.binary(max_size=12)), min_size=1, max_size=4)


def changed(plain: Any, changes: list[tuple[int, Any]]) -> Any:
    """Plain data with other values at some places."""
    plain = json.loads(json.dumps(plain))
    for number, value in changes:
        spots = [(plain, key) for key in keys(plain)]
        for holder, key in spots:
            spots += [(holder[key], inner) for inner in keys(holder[key])]
        holder, key = spots[number % len(spots)]
        holder[key] = value
    return plain


def keys(plain: Any) -> list[Any]:
    return list(plain) if isinstance(plain, dict) else list(range(len(plain))) if isinstance(plain, list) else []


def spoilt(content: bytes, spots: list[tuple[int, str, bytes]]) -> bytes:
    """Bytes with some flipped, cut off, repeated or put in between."""
    for number, how, other in spots:
        at = number % (len(content) + 1)
        if how == "flip":
            content = content[:at] + bytes([b ^ 1 << number % 8 for b in content[at : at + 1]]) + content[at + 1 :]
        else:
            content = {
                "cut": content[:at],
                "double": content[:at] + content[at // 2 :],
                "put": content[:at] + other + content[at:],
            }[how]
    return content


def as_toml(plain: Any) -> str:
    """Plain data as TOML in one line, without what it has no word for."""
    if isinstance(plain, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {as_toml(v)}" for k, v in plain.items() if v is not None) + "}"
    if isinstance(plain, list):
        return "[" + ", ".join(as_toml(value) for value in plain if value is not None) + "]"
    return {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}.get(json.dumps(plain), json.dumps(plain))


def read_or_refused(path: Path) -> Recipe | None:
    """A recipe, unless it is refused as it should be."""
    try:
        return find_recipe(str(path))
    except ValueError as error:
        output = str(error)
    one_clear_line(output, path)
    return None


def one_clear_line(output: str, path: Path) -> None:
    assert str(path) in output
    assert output.isprintable()
    assert len(output) < 1000


@fuzz
@given(name=st.sampled_from(sorted(RECIPES)), changes=CHANGES, kind=st.sampled_from(["json", "toml"]))
def test_a_recipe_with_strange_values_is_read_or_refused(tmp_path: Path, name: str, changes: list, kind: str):
    plain = changed(to_dict(RECIPES[name]()), changes)
    path = tmp_path / f"recipe.{kind}"
    text = json.dumps(plain) if kind == "json" else "\n".join(f"{k} = {as_toml(v)}" for k, v in plain.items())
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    if recipe := read_or_refused(path):
        path.with_suffix(".json").write_text(json.dumps(to_dict(recipe)))
        assert find_recipe(str(path.with_suffix(".json"))) == recipe


@fuzz
@given(name=st.sampled_from(sorted(RECIPES)), spots=SPOTS, kind=st.sampled_from(["json", "toml"]))
def test_a_recipe_with_strange_bytes_is_read_or_refused(tmp_path: Path, name: str, spots: list, kind: str):
    plain = to_dict(RECIPES[name]())
    text = json.dumps(plain) if kind == "json" else "\n".join(f"{k} = {as_toml(v)}" for k, v in plain.items())
    path = tmp_path / f"recipe.{kind}"
    path.write_bytes(spoilt(text.encode(), spots))
    if recipe := read_or_refused(path):
        assert from_dict(type(recipe), to_dict(recipe)) == recipe


BROKEN = {
    "deep list": "[" * 100_000,
    "deep table": '{"a":' * 100_000,
    "deep value": '{"schedule": ' + "[" * 900 + "]" * 900 + "}",
    "large number": '{"batch": ' + "9" * 4000 + "}",
    "large fraction": '{"label_dropout": 1' + "0" * 400 + "}",
    "no number": '{"label_dropout": NaN}',
    "no whole number": '{"batch": NaN}',
    "long kind": '{"schedule": {"kind": "' + "x\\n" * 100_000 + '"}}',
    "long base": '{"base": "' + "demo" * 10_000 + '"}',
    "table as base": '{"base": {}}',
    "null": "null",
    "infinite": "1e999",
    "mark of order": "\ufeff{}",
    "empty": "",
    "long": " " * (2 << 20),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_recipe_made_to_break_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "recipe.json"
    path.write_text(text, encoding="utf-8")
    tracemalloc.start()
    assert read_or_refused(path) is None
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that a run wrote."""
    folder = tmp_path_factory.mktemp("fuzz")
    run(TINY, folder, CPU)
    file = checkpoint.latest(folder / "checkpoints")
    assert file is not None
    return file


def loaded_or_refused(path: Path) -> bool:
    """Whether a checkpoint is loaded; if not it is refused as it should be."""
    try:
        load(path, runtime=CPU)
    except ValueError as error:
        output = str(error)
    else:
        return True
    one_clear_line(output, path)
    return False


@fuzz
@given(spots=SPOTS)
def test_a_checkpoint_with_strange_bytes_is_refused(tmp_path: Path, real: Path, spots: list):
    content = real.read_bytes()
    path = tmp_path / "1.safetensors"
    head = 8 + int.from_bytes(content[:8], "little")
    near = [(number % (head if number % 2 else len(content)), how, other) for number, how, other in spots]
    path.write_bytes(spoilt(content, near))
    assert loaded_or_refused(path) == (path.read_bytes() == content)


@fuzz
@given(changes=CHANGES)
def test_a_checkpoint_with_strange_data_and_a_right_checksum_is_read_or_refused(
    tmp_path: Path, real: Path, changes: list
):
    data = changed(checkpoint.read_data(real), changes)
    path = checkpoint.save_checkpoint(tmp_path, 1, {"ema.w": torch.zeros(2)}, data)
    assert not loaded_or_refused(path)


@fuzz
@given(spots=SPOTS)
def test_a_strange_header_with_a_right_checksum_is_read_or_refused(tmp_path: Path, real: Path, spots: list):
    content = real.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = spoilt(content[8 : 8 + length], spots)
    path = tmp_path / "1.safetensors"
    path.write_bytes(sealed(len(header).to_bytes(8, "little") + header + content[8 + length :]))
    loaded_or_refused(path)
    assert list(tmp_path.iterdir()) == [path]


def sealed(content: bytes) -> bytes:
    """A file as somebody would forge it who knows how its checksum is made."""
    at = content.find(checkpoint.MARK) + len(checkpoint.MARK)
    blank = content[:at] + checkpoint.BLANK + content[at + 64 :]
    return content[:at] + sha256(blank).hexdigest().encode() + content[at + 64 :]
