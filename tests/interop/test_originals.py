"""Networks of other programs answer in limpid what their own code answers: see `make_originals.py`."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from originals import fill, inputs
from torch import Tensor

from limpid.cli.main import main
from limpid.diffusion.denoiser import Timestep
from limpid.diffusion.samplers import Ancestral
from limpid.diffusion.schedules import Cosine, LinearBeta
from limpid.interop.foreign import read_foreign
from limpid.interop.foreign_model import ForeignOptions
from limpid.recipes.recipe import build_denoiser
from limpid.sampling.checkpoints import find_checkpoint
from limpid.sampling.pipeline import load

ORIGINALS = json.loads(Path(__file__).with_name("originals.json").read_text())
HEADS = ForeignOptions(size=16, head_channels=16, schedule=LinearBeta(T=50))
Wrap = Callable[[dict[str, Tensor], dict[str, Tensor]], dict[str, Any]]


@dataclass(frozen=True)
class Original:
    """How a program saves a network, given its weights and other tensors, and what its files do not say."""

    wrap: Wrap
    options: ForeignOptions


def score_sde_file(state: dict[str, Tensor], fixed: dict[str, Tensor]) -> dict[str, Any]:
    """Its modules are in the order of their numbers, the tensors of one in the order of their making."""
    order = list(ORIGINALS["score_sde"]["shapes"])
    model = {f"module.{name}": (state | fixed)[name] * (name in fixed) for name in order}
    return {
        "optimizer": {},
        "model": model,
        "ema": {"shadow_params": [state[n] for n in order if n in state]},
        "step": 1,
    }


PROGRAMS = {
    "improved": Original(lambda state, fixed: state, ForeignOptions(16, num_heads=2, schedule=LinearBeta(T=50))),
    "guided": Original(lambda state, fixed: state, HEADS),
    "guided, new order": Original(
        lambda state, fixed: state,
        ForeignOptions(16, head_channels=16, new_attention_order=True, schedule=LinearBeta(T=50)),
    ),
    "pytorch-ddpm": Original(
        lambda state, fixed: {"ema_model": state | fixed, "net_model": state | fixed, "step": 3}, ForeignOptions(16)
    ),
    "score_sde": Original(score_sde_file, ForeignOptions(16)),
}


def write(name: str, folder: Path) -> Path:
    """The file that a program would have saved."""
    shapes, fixed = ORIGINALS[name]["shapes"], ORIGINALS[name]["fixed"]
    state = fill({n: shape for n, shape in shapes.items() if n not in fixed})
    path = folder / "model.pt"
    torch.save(PROGRAMS[name].wrap(state, {n: torch.zeros(shapes[n]) for n in fixed}), path)
    return path


@torch.no_grad()
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_network_answers_what_the_programs_own_code_does(name: str, tmp_path: Path):
    model = read_foreign(write(name, tmp_path), PROGRAMS[name].options)
    net = build_denoiser(model.recipe, model.image_shape, len(model.class_names)).net.eval()
    net.load_state_dict(dict(model.tensors["ema"]))
    x, t, labels = inputs()
    y = net(x, t.float(), labels if model.class_names else None)
    torch.testing.assert_close(y[:, :, 5, 9].flatten(), torch.tensor(ORIGINALS[name]["answers"]), rtol=0, atol=2e-5)


def test_an_import_is_a_run_to_sample_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path, run = write("improved", tmp_path), tmp_path / "run"
    words = ["--size", "16", "--num-heads", "2", "--schedule", "Cosine", "--schedule.T", "4000"]
    assert main(["import", str(path), "--run", str(run), *words, "--classes", "cat", "dog", "owl"]) == 0
    assert f"limpid train {run} --init {run} --data FOLDER --run runs/NEW" in capsys.readouterr().out
    pipeline = load(run)
    assert pipeline.class_names == ("cat", "dog", "owl")
    assert pipeline.recipe.schedule == Cosine(T=4000)
    assert pipeline.recipe.noise_conditioning == Timestep(4000, rescale_timesteps=True)
    assert pipeline.recipe.sampling.sampler == Ancestral("learned")
    assert len(pipeline.sample(2, labels="dog", steps=2)) == 2
    assert main(["import", str(path), "--run", str(run), *words]) == 2
    assert "is there already" in capsys.readouterr().err


def test_raw_weights_are_loaded_beside_the_ema(tmp_path: Path):
    path = write("score_sde", tmp_path)
    options = ForeignOptions(size=16)
    raw, ema = (read_foreign(path, options).tensors[name] for name in ("raw", "ema"))
    assert raw.keys() == ema.keys()
    assert max(weight.abs().max() for weight in raw.values()) == 0
    assert load(path, weights="raw").image_shape == (3, 32, 32)
    with pytest.raises(
        ValueError, match=r"model\.pt: the size of its images and its attention heads are not in the file"
    ):
        load(write("improved", tmp_path))


class Code:
    """An object whose pickle runs a command when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hostile",)


def hostile_files(folder: Path) -> list[Path]:
    """Files of torch.save that are none of a model, or run code."""
    tensor = {"time_embed.0.weight": torch.zeros(2)}
    contents = {
        "code": Code(),
        "inside": {**tensor, "x": Code()},
        "tensor": torch.zeros(3),
        "none": {},
        "text": {"a": "b"},
    }
    for name, content in contents.items():
        torch.save(content, folder / f"{name}.pt")
    torch.save({"time_embed.0.weight": "x", "input_blocks.0.0.weight": 3}, folder / "words.pt")
    torch.save({"model": {"all_modules.0.weight": torch.zeros(3)}}, folder / "short.pt")
    torch.save({"ema_model": {"time_embedding.timembedding.0.weight": torch.zeros(3, 4)}}, folder / "few.pt")
    key: Any = 1
    for _ in range(21):  # hashing it takes 2^21 steps
        key = (key, key)
    torch.save({key: torch.zeros(2)}, folder / "key.pt")
    torch.save({key: torch.zeros(2)}, folder / "old_key.pt", _use_new_zipfile_serialization=False)
    expanded = torch.zeros(1, dtype=torch.float16).expand(10**12)
    torch.save(dict.fromkeys(("time_embed.0.weight", "input_blocks.0.0.weight"), expanded), folder / "expanded.pt")
    with ZipFile(folder / "tensor.pt") as plain, ZipFile(folder / "compressed.pt", "w") as archive:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name) + bytes(10**6), ZIP_DEFLATED)
    (folder / "cut.pt").write_bytes((folder / "inside.pt").read_bytes()[:300])
    (folder / "empty.pkl").write_bytes(b"")
    (folder / "bytes.ckpt").write_bytes(bytes(range(256)))
    return sorted(path for path in folder.iterdir() if path.is_file())


def test_a_hostile_file_is_one_line_and_makes_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    files = hostile_files(tmp_path)
    assert len(files) == 15
    reasons = {"key": "Unpickl", "old_key": "Unpickl", "expanded": "1e+12 values of which fewer are stored"}
    for file in files:
        words = ["--size", "16", "--num-heads", "2"]
        assert main(["import", str(file), "--run", str(tmp_path / "run"), *words]) == 2, file
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert str(file) in line
        assert reasons.get(file.stem, "") in line
    assert sorted(path for path in tmp_path.iterdir()) == files


def test_a_file_of_the_wrong_shapes_is_refused(tmp_path: Path):
    path = write("pytorch-ddpm", tmp_path)
    table = torch.load(path, weights_only=True)
    table["ema_model"]["middleblocks.0.block1.2.weight"] = torch.zeros(3)
    torch.save(table, path)
    with pytest.raises(ValueError, match=r"model\.pt does not fit: 1 of its tensors"):
        find_checkpoint(path)
