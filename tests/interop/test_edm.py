"""EDM's pickles answer in limpid what EDM's own code does (see `make_originals.py`), and no code in one is run."""

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from originals import fill, inputs
from persistent_pickles import Module, snapshot, values_in_pickle, write_pickle
from PIL import Image
from torch import nn
from torch._utils import _rebuild_tensor_v2

from limpid.cli.main import main
from limpid.data import Folder
from limpid.diffusion.level import Level
from limpid.interop.foreign import read_foreign
from limpid.interop.foreign_model import ForeignOptions
from limpid.interop.persistent_pickle import _storage
from limpid.recipes.recipe import build_denoiser
from limpid.sampling.pipeline import load

ORIGINALS = json.loads(Path(__file__).with_name("originals.json").read_text())
KINDS = {"ddpm++": "SongUNet", "ncsn++": "SongUNet", "adm": "DhariwalUNet", "iddpm": "DhariwalUNet"}
EDM = {"sigma_data": 0.5, "sigma_min": 0, "sigma_max": float("inf")}
IDDPM = {"M": 1000, "C_1": 0.001, "C_2": 0.008}


def content(name: str, precond: Any = "", **changes: Any) -> dict[str, Any]:
    """The table in EDM's snapshot of the network in originals.json, with changed settings."""
    original = ORIGINALS[f"edm, {name}"]
    fixed = set(original["fixed"])
    shapes = {n: shape for n, shape in original["shapes"].items() if n != "u"}
    state = fill({n: shape for n, shape in shapes.items() if n not in fixed})
    # The blocks are in the order in which they run.
    tensors = {n.removeprefix("model."): state.get(n, torch.ones(shape)) for n, shape in shapes.items()}
    buffers = {n for n in tensors if n.endswith(("freqs", "resample_filter"))}
    precond = precond or ("iDDPMPrecond" if name == "iddpm" else "EDMPrecond")
    attributes = IDDPM if name == "iddpm" else EDM
    return snapshot(precond, KINDS[name], original["settings"] | changes, tensors, buffers, **attributes)


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
def test_a_denoiser_answers_what_edms_own_code_does(name: str, tmp_path: Path):
    path = write_pickle(tmp_path / "network-snapshot-000001.pkl", content(name))
    model = read_foreign(path, ForeignOptions())
    denoiser = build_denoiser(model.recipe, model.image_shape, len(model.class_names)).eval()
    denoiser.net.load_state_dict(dict(model.tensors["ema"]))
    x, t, labels = inputs()
    sigma = model.recipe.schedule((t + 1).double() / 1000).edm_sigma.float() if name == "iddpm" else t / 10
    x0 = denoiser(x, Level(torch.ones(2), sigma), labels if model.class_names else None)
    answers = torch.tensor(ORIGINALS[f"edm, {name}"]["answers"])
    torch.testing.assert_close(x0[:, :, 5, 9].flatten(), answers, rtol=0, atol=2e-5)


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


COMMAND = Call(os.system, "touch hostile")


def torch_saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def nested(depth: int) -> dict[str, Any]:
    """Modules each of which holds the next one twice."""
    module: object = Module("Block", {"_parameters": {}, "_buffers": {}, "_modules": {}})
    for _ in range(depth):
        module = Module("Block", {"_parameters": {}, "_buffers": {}, "_modules": {"a": module, "b": module}})
    table = content("ddpm++")
    table["ema"].meta["state"]["_modules"]["model"].meta["state"]["_modules"]["enc"] = module
    return table


def claimed(values: int) -> dict[str, Any]:
    """A tensor of so many values, of which the file holds three."""
    storage = torch.zeros(3).storage()
    tensor = Call(_rebuild_tensor_v2, storage, 0, (values,), (0,), False, {})
    return {"ema": Module("EDMPrecond", {"x": tensor})}


def doubled(value: object = 1) -> object:
    """Tuples nested 60 deep, each of which holds the next one twice: as text they would fill the memory."""
    for _ in range(60):
        value = (value, value)
    return value


def with_model(**state: object) -> dict[str, Any]:
    """A snapshot whose network has other attributes."""
    table = content("ddpm++")
    table["ema"].meta["state"]["_modules"]["model"].meta["state"] |= state
    return table


def shaped(size: tuple[object, ...]) -> dict[str, Any]:
    """A tensor of a shape that is none."""
    tensor = Call(_rebuild_tensor_v2, torch.zeros(3).storage(), 0, size, (1, 1), False, {})
    return {"ema": Module("EDMPrecond", {"x": tensor})}


def compressed() -> bytes:
    """The zeros of a storage in a compressed file."""
    buffer = io.BytesIO()
    with ZipFile(io.BytesIO(torch_saved(torch.zeros(10**5).storage()))) as plain, ZipFile(buffer, "w") as archive:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name), ZIP_DEFLATED)
    return buffer.getvalue()


def read_twice() -> dict[str, Any]:
    """Two tensors, for each of which the same bytes are to be read."""
    values = torch_saved(torch.zeros(1000).storage())
    return {"ema": Module("EDMPrecond", {name: values_in_pickle(values) for name in "xy"})}


class Changed:
    """The pickle of a function that is given other defaults."""

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.storage._load_from_bytes, (b"",), (None, {"__defaults__": (3,)})


HOSTILE: dict[str, tuple[Callable[[], object], str]] = {
    "system": (lambda: content("ddpm++") | {"loss_fn": COMMAND}, "it asks for 'posix.system'"),
    "eval": (
        lambda: {"ema": Module("EDMPrecond", {"x": Call(eval, "open('hostile', 'w')")})},
        "it asks for 'builtins.eval'",
    ),
    "nested call": (lambda: {"ema": Module("EDMPrecond", {"x": Call(getattr, COMMAND, "x")})}, "it asks for"),
    "code in a tensor": (
        lambda: {"ema": Module("EDMPrecond", {"x": values_in_pickle(torch_saved(COMMAND))})},
        "Weights only load failed",
    ),
    "no tensor": (
        lambda: {"ema": Module("EDMPrecond", {"x": values_in_pickle(torch_saved({"a": 1}))})},
        "a dict in place of a tensor's values",
    ),
    "tensor of a terabyte": (lambda: claimed(10**12), "a tensor of 1e+12 values from 3"),
    "modules for ever": (lambda: nested(60), "one of its modules occurs twice"),
    "shape of text": (lambda: shaped(("a", 10**12)), "a tensor whose shape is not of whole numbers"),
    "compressed values": (
        lambda: {"ema": Module("EDMPrecond", {"x": values_in_pickle(compressed())})},
        "it is compressed, which torch.save does not do",
    ),
    "values twice": (read_twice, "it has more values read than it holds"),
    "doubled class": (lambda: content("ddpm++", doubled()), "a tuple in place of the name of a class"),
    "doubled setting": (lambda: content("ddpm++", model_channels=doubled()), "not those of such a model (TypeError"),
    "doubled choice": (lambda: content("ddpm++", encoder_type=doubled()), "a SongUNet with"),
    "module's name": (lambda: with_model(_modules={3: Module("Block", {})}), "has a name that is no text"),
    "parameter's name": (lambda: with_model(_parameters={"n" * 10**6: nn.Parameter(torch.ones(1))}), "at most 100"),
    "no model": (lambda: {"G_ema": Module("Generator", {})}, "it has no 'ema'"),
    "no module": (lambda: {"ema": 3, "loss_fn": Module("EDMLoss", {})}, "a int in place of a module"),
    "no attributes": (lambda: {"ema": Module("EDMPrecond", {})}, "KeyError"),
    "other class": (lambda: content("ddpm++", "Other\n\x1b[2J"), r"'Other\n\x1b[2J'"),
    "vp": (lambda: content("ddpm++", "VPPrecond"), "the continuous time of the VP SDE"),
    "ve": (lambda: content("ddpm++", "VEPrecond"), "not scaled to unit variance"),
    "edm2": (lambda: content("ddpm++", "Precond"), "EDM2's network preserves magnitudes"),
    "encoder": (lambda: content("ddpm++", encoder_type="skip"), "encoder_type 'skip'"),
    "width": (lambda: content("ddpm++", model_channels=10**9), "not those of such a model"),
    "blocks": (lambda: content("ddpm++", num_blocks=10**9), "num_blocks 1000000000: expected at most"),
    "levels": (lambda: content("ddpm++", channel_mult=[1] * 10**5), "more than 12 levels"),
    "classes": (lambda: content("ddpm++", label_dim=10**12), "1e+12 classes, and a table of 3"),
    "size": (lambda: content("ddpm++", img_resolution=10**12), "its images are of 1e+12 pixels"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_one_line_and_makes_no_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    make, reason = HOSTILE[name]
    file = write_pickle(tmp_path / "network.pkl", make())
    assert main(["import", str(file), "--run", "run"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("limpid: ")
    assert reason in line
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    assert list(tmp_path.iterdir()) == [file]


def test_a_broken_pickle_is_one_line(tmp_path: Path):
    mark = pickle.dumps(["torch_utils.persistence"], 4)[:-1]
    whole = write_pickle(tmp_path / "whole.pkl", content("ddpm++")).read_bytes()
    changed = write_pickle(tmp_path / "changed.pkl", {"ema": Module("EDMPrecond", {"x": Changed()})}).read_bytes()
    endings = {
        "cut": whole[: len(whole) // 2],
        "memo": mark + b"r" + struct.pack("<I", 2**31) + b".",
        "bytes": mark + b"\x8e" + struct.pack("<Q", 2**60) + b".",
        "changed": changed,
    }
    for name, blob in endings.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(blob)
        with pytest.raises(ValueError, match=rf"{name}\.pkl: it is broken, or holds more than tensors and plain data"):
            read_foreign(path, ForeignOptions())
    assert _storage.__defaults__ is None


def test_a_pickle_is_sampled_from_directly_and_after_an_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    file = str(write_pickle(tmp_path / "network.pkl", content("ddpm++")))
    assert main(["import", file, "--run", "run", "--classes", "cat", "dog", "owl"]) == 0
    assert "limpid sample run" in capsys.readouterr().out
    samples = [load(path).sample(2, labels=0, steps=3) for path in (file, "run")]
    torch.testing.assert_close(samples[0].pixels, samples[1].pixels, rtol=0, atol=0)
    assert load("run").class_names == ("cat", "dog", "owl")
    for sampler in ("Heun", "Ddim", "DpmSolverPP", "UniPC"):
        words = ["--n", "2", "--steps", "3", "--sampler", sampler, "--out", sampler, "--labels", "dog"]
        assert main(["sample", "run", *words]) == 0, sampler


def test_a_pickle_edits_scores_and_is_trained_on_with_images_of_its_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "data"))
    file = str(write_pickle(tmp_path / "network.pkl", content("ncsn++")))
    assert load(file).recipe.data == Folder(size=16)
    (tmp_path / "images").mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (12, 16, 16, 3), np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    images = ["--data.root", "images"]
    assert main(["edit", "img2img", file, *images, "--steps", "2"]) == 0
    assert main(["likelihood", file, *images, "--n", "2", "--num-levels", "2"]) == 0
    assert "bits/dim" in capsys.readouterr().out
    assert main(["import", file, "--run", "run"]) == 0
    words = ["--duration", "4", "--batch-size", "4", "--sampling.steps", "2", "--every.sample", "0", "--run", "tuned"]
    assert main(["train", "run", "--init", file, *images, *words]) == 0
    assert load("tuned").images_seen == 4
