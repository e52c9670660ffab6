"""A model as ONNX with its sampler as numbers: a folder that samples without limpid, in Python and in a browser."""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim

from limpid.diffusion.denoiser import Denoiser
from limpid.diffusion.schedules import sampling_levels
from limpid.interop.sampler_table import TableRow, sampler_table
from limpid.interop.torch_export import exporter_warnings_silenced, program_and_inputs
from limpid.recipes.recipe import Recipe, Sampling
from limpid.storage.atomic import atomic_write

OPSET = 20
FILES = Path(__file__).parent / "onnx_files"
"""What every exported folder holds besides the model and its numbers."""


@dataclass(frozen=True)
class OnnxModel:
    """What is exported: a model on the CPU, the recipe that says how it is sampled, and the guidance model, if any."""

    model: Denoiser
    recipe: Recipe
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...] = ()
    guide: Denoiser | None = None


def export_onnx(exported: OnnxModel, folder: Path, more: Sequence[Sampling] = ()) -> list[Path]:
    """Write a folder with denoiser.onnx, sampler.json and the programs that sample with them; returns the files.

    `more` are other ways to sample, to choose from. Raises ValueError for a sampler that is no table of numbers, for a
    network that cannot be exported, and where onnx or onnxscript is missing.
    """
    spec = sampler_spec(exported, [exported.recipe.sampling, *more])
    files = [save_onnx(exported.model, exported.image_shape, folder / "denoiser.onnx")]
    if exported.guide:
        files.append(save_onnx(exported.guide, exported.image_shape, folder / "guide.onnx"))
    with atomic_write(folder / "sampler.json") as part:
        part.write_text(spec_text(spec), encoding="utf-8")
    for source in sorted(FILES.iterdir()):
        if source.is_file():
            with atomic_write(folder / source.name) as part:
                shutil.copyfile(source, part)
            files.append(folder / source.name)
    return [*files, folder / "sampler.json"]


def sampler_spec(exported: OnnxModel, samplings: Sequence[Sampling]) -> dict[str, Any]:
    """What a program needs to sample with denoiser.onnx, as plain data; README.md of the folder explains it."""
    model, recipe = exported.model, exported.recipe
    guidance, weaker = recipe.sampling.guidance, exported.guide or model
    return {
        "format": 1,
        "image_shape": list(exported.image_shape),
        "class_names": list(exported.class_names),
        "null_label": model.null_label if model.null_label and recipe.label_dropout else None,
        "clip": recipe.sampling.clip_denoised,
        "guidance": {
            "scale": guidance.scale,
            "rescale": guidance.rescale,
            "model": "guide.onnx" if exported.guide else None,
            "null_label": weaker.null_label or None,
        },
        "samplers": [sampler_entry(recipe, sampling) for sampling in samplings],
    }


def sampler_entry(recipe: Recipe, sampling: Sampling) -> dict[str, Any]:
    """One way to sample: its name, and the rows of its table."""
    schedule = replace(recipe, sampling=sampling).sampling_schedule
    rows = sampler_table(sampling.sampler, sampling_levels(schedule, sampling.steps, sampling.spacing))
    last = len(rows) - 1
    return {
        "name": f"{type(sampling.sampler).__name__}, {sampling.steps} steps",
        "rows": [row_to_dict(row, sampling, is_sample=i == last) for i, row in enumerate(rows)],
    }


def row_to_dict(row: TableRow, sampling: Sampling, *, is_sample: bool) -> dict[str, Any]:
    """A row of a table; those of network evaluations have a level, and whether they are guided."""
    plain: dict[str, Any] = {"keep": row.keep, "predictions": row.predictions, "noises": row.noises}
    if row.variance_ratio != 1:
        plain["variance_ratio"] = row.variance_ratio
    if is_sample:
        return plain
    level = {"alpha": row.level.alpha.item(), "sigma": row.level.sigma.item()}
    return plain | level | {"guided": sampling.guidance.active(row.level)}


def spec_text(spec: dict[str, Any]) -> str:
    """The plain data as JSON, with a line for each row."""
    text = json.dumps(spec, allow_nan=False)
    return text.replace('{"keep"', '\n{"keep"') + "\n"


def save_onnx(model: Denoiser, shape: tuple[int, int, int], path: Path) -> Path:
    """Write E[x0 | x] of a model on the CPU as ONNX, with batches of any size and inputs as of `TensorDenoiser`.

    Raises ValueError for a network that cannot be exported, and where onnx or onnxscript is missing.
    """
    translations = _translations()
    program, inputs = program_and_inputs(model, shape)
    with torch.no_grad(), exporter_warnings_silenced(), _exporter_log_silenced():
        try:
            exported = torch.onnx.export(
                program,
                inputs,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=program.input_names(),
                output_names=program.output_names(),
                dynamic_shapes=({0: Dim("batch")},) * len(inputs),
                custom_translation_table=translations,
            )
        except Exception as error:  # of any type: one's own network may do anything
            raise ValueError(f"{type(model.net).__name__} cannot be exported: {str(error).splitlines()[0]}") from error
        assert exported is not None
        _remove_traces(exported.model)
        with atomic_write(path) as part:
            exported.save(part, external_data=False)
    return path


def _translations() -> dict[Any, Any]:
    """The operators that ONNX does not have, written with those that it has."""
    try:
        import_module("onnx")
        op = import_module("onnxscript").opset20
    except ImportError:
        raise ValueError("exporting ONNX needs onnx and onnxscript: pip install 'limpid-diffusion[onnx]'") from None

    def hypot(x: Any, y: Any) -> Any:
        return op.Sqrt(op.Add(op.Mul(x, x), op.Mul(y, y)))

    def count_at_most(table: Any, values: Any, **options: Any) -> Any:
        """How many numbers of a sorted table are at most each value: searchsorted with right=True."""
        assert options.get("right")
        at_most = op.LessOrEqual(table, op.Unsqueeze(values, [-1]))
        return op.ReduceSum(op.Cast(at_most, to=7), [-1], keepdims=0)  # 7 is int64

    return {torch.ops.aten.hypot.default: hypot, torch.ops.aten.searchsorted.Tensor: count_at_most}


def _remove_traces(model: Any) -> None:
    """Remove what the exporter notes of its work at each node: a third of a small file, with paths of this machine."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None


@contextmanager
def _exporter_log_silenced() -> Iterator[None]:
    """A context in which the exporter does not report that torchvision is not installed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
