"""`limpid edit`: change real images with a trained model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from PIL import Image

from limpid.cli.inputs import load_images, output_file, parse_labels, parse_mask
from limpid.cli.parser import FLATTEN, choose_first, parse, positional
from limpid.cli.progress import evaluation_progress
from limpid.data import DataSource
from limpid.diffusion.samplers import Heun, Sampler
from limpid.recipes.recipe import DataPath
from limpid.recipes.serialize import match_choice
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_checkpoint, output_folder
from limpid.sampling.edit_sheets import (
    img2img_sheet,
    inpaint_sheet,
    interpolation_sheet,
    inversion_sheet,
    seed_interpolation_sheet,
)
from limpid.sampling.evaluations import img2img_evaluations, inpaint_evaluations, sampler_evaluations
from limpid.sampling.pipeline import Pipeline, load_checkpoint
from limpid.sampling.training_data import images_of_run
from limpid.viz.image_grid import save_png

EDITS = ("inpaint", "img2img", "interpolate", "invert")


@dataclass(frozen=True)
class Edit:
    """Edit real images with the newest checkpoint of a run, or with one checkpoint."""

    out: Path
    """The file to write."""
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
    images: tuple[str, ...] = ("0", "1", "2", "3")
    """The images to edit: indices in the training data of the run, or files, which are cropped and resized to fit."""
    data: DataPath = DataPath()
    labels: tuple[str, ...] = ()
    """The class to condition on, by name, or by index (from 0) if no class has that name; no label if not given.
    One for each image, one for all, or several for a single image, which is then edited to each."""
    mask: str = "right"
    """inpaint: the part to generate: left, right, top, bottom, centre, or a PNG that is white in that part."""
    resample: int = 5
    """inpaint: repetitions of each sampling step, which make the new part agree with the known part."""
    strengths: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    """img2img: how much noise is added to each image before it is sampled again, from 0 (none) to 1 (pure noise)."""
    num_variations: int = 6
    """inpaint: number of variations of each image; interpolate: number of images from one to the other."""
    steps: int = 50
    """Sampling steps from pure noise to an image; img2img takes fewer, in proportion to its strength."""
    sampler: Sampler = Heun()
    """img2img, and interpolate between seeds: the sampler."""
    seed: int = 0
    """Seed of the first variation or image; the following ones have the following seeds."""
    seeds: tuple[int, ...] = ()
    """interpolate: pairs of seeds, to interpolate between their samples instead of between images."""


FORMER_EDITS = {"vary": "img2img", "sdedit": "img2img"}
"""Other names of edits: the name in limpid 0.1, and that of the paper (Meng et al. 2022)."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid edit WHAT RUN": Edit(Path("RUN/WHAT.png"))}


def main(arguments: Sequence[str]) -> int:
    """`limpid edit WHAT RUN [options]`."""
    what, rest = positional("edit", "kind of edit and a RUN", arguments, f"{'|'.join(EDITS)} RUN")
    what = choose_first("edit", "edit", FORMER_EDITS.get(what, what), EDITS)
    name, rest = positional(f"edit {what}", "RUN", rest)
    options = parse(Edit(output_folder(Path(name)) / f"{what}.png"), rest, f"limpid edit {what} {name}")
    options = replace(options, out=output_file(options.out, f"{what}.png"))
    if options.out.suffix.lower() != ".png":
        raise ValueError(f"--out {options.out}: expected a path that ends in .png, or a folder")
    runtime, ref = options.runtime.resolve().setup(), find_checkpoint(name)
    pipeline = load_checkpoint(ref, runtime)
    by_index = not options.seeds and any(word.isdecimal() for word in options.images)
    source = images_of_run(ref.about, options.data.root, name) if by_index or options.data.root else None
    with evaluation_progress(pipeline.model.net, edit_evaluations(what, options)):
        sheet = edit_sheet(what, pipeline, options, source)
    echo(save_png(sheet, options.out))
    return 0


def edit_sheet(what: str, pipeline: Pipeline, options: Edit, source: DataSource | None) -> Image.Image:
    """The image sheet of one of `EDITS`, of images of `source` where they are given by index.

    Raises ValueError for options that cannot be used.
    """
    what = match_choice("edit", what, EDITS)
    counts = {"resample": options.resample, "num-variations": options.num_variations, "steps": options.steps}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"--{name} {value}: expected at least 1")
    if options.seeds:
        return between_seeds(what, pipeline, options)
    each_class = len(options.images) == 1 < len(options.labels) and what != "interpolate"
    if each_class:
        options = replace(options, images=options.images * len(options.labels))
    labels, mask = edit_labels(options, pipeline, len(options.images)), parse_mask(options.mask, pipeline.image_shape)
    given = "none" if labels is None else labels
    pixels, names = load_images(options.images, source, pipeline.image_shape)
    if each_class and labels:
        names = [f"{name} as {pipeline.class_names[label]}" for name, label in zip(names, labels, strict=True)]
    n, steps, seed = options.num_variations, options.steps, options.seed
    if what == "inpaint":
        resample = options.resample
        return inpaint_sheet(
            pipeline, pixels, names, mask, labels=given, seed=seed, num_variations=n, steps=steps, resample=resample
        )
    if what == "img2img":
        strengths, sampler = options.strengths, options.sampler
        return img2img_sheet(pipeline, pixels, names, strengths, labels=given, seed=seed, steps=steps, sampler=sampler)
    if what == "invert":
        return inversion_sheet(pipeline, pixels, names, labels=given, steps=steps)
    return interpolation_sheet(pipeline, pixels, names, labels=labels, num_variations=n, steps=steps)


def between_seeds(what: str, pipeline: Pipeline, options: Edit) -> Image.Image:
    """The image sheet of an interpolation between seeds. Raises ValueError for another edit."""
    if what != "interpolate":
        raise ValueError(f"--seeds are for interpolate: {what} takes one --seed, and the next ones after it")
    labels = edit_labels(options, pipeline, len(options.seeds) // 2)
    n, steps = options.num_variations, options.steps
    return seed_interpolation_sheet(
        pipeline, options.seeds, options.sampler, labels=labels, num_variations=n, steps=steps
    )


def edit_evaluations(what: str, options: Edit) -> int:
    """The approximate number of network evaluations of an edit, to show its progress."""
    steps = options.steps
    if what == "inpaint":
        return inpaint_evaluations(steps, options.resample)
    if what == "img2img":
        return sum(img2img_evaluations(options.sampler, steps, strength) for strength in options.strengths)
    if options.seeds:
        return sampler_evaluations(options.sampler, steps) * (len(options.seeds) // 2)
    inversion_and_sampling = 2 * (steps - 1) + sampler_evaluations(Heun(), steps)
    return inversion_and_sampling * (len(options.images) // 2 if what == "interpolate" else 1)


def edit_labels(options: Edit, pipeline: Pipeline, n: int) -> list[int] | None:
    """A label for each of n images; None where the model is given none. Raises ValueError for what is no class."""
    if options.labels:
        return parse_labels(options.labels, pipeline.class_names, n)
    if pipeline.class_names and not pipeline.recipe.label_dropout:
        raise ValueError(
            "this model was trained with a label for every image: name one with --labels "
            f"({', '.join(pipeline.class_names)})"
        )
    return None
