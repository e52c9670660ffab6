"""The command and the Python code that repeat an edit."""

import shlex
from dataclasses import dataclass
from typing import Literal, TypeAlias

from limpid.diffusion.samplers import Heun, Sampler
from limpid.recipes.changes import changes
from limpid.recipes.recipe import Sampling
from limpid.sampling.evaluations import img2img_evaluations, inpaint_evaluations, sampler_evaluations
from limpid.sampling.same_samples import sampling_options

EditKind: TypeAlias = Literal["img2img", "inpaint", "interpolate"]


@dataclass(frozen=True)
class EditSettings:
    """How an image is edited, or two seeds are interpolated."""

    edit: EditKind
    n: int = 4
    """Variations of the image, or images from one seed to the other."""
    seed: int = 0
    second_seed: int = 1
    """The seed to which is interpolated."""
    label: str = ""
    """The class; empty for no label."""
    steps: int = 50
    strength: float = 0.5
    resample: int = 5
    sampler: Sampler = Heun()

    @property
    def evaluations(self) -> int:
        """The approximate number of network evaluations."""
        if self.edit == "inpaint":
            return inpaint_evaluations(self.steps, self.resample)
        if self.edit == "img2img":
            return img2img_evaluations(self.sampler, self.steps, self.strength)
        return sampler_evaluations(self.sampler, self.steps)


@dataclass(frozen=True)
class EditCall:
    """An edit of one image, or an interpolation between two seeds, by a model."""

    path: str
    """What `load` takes: a run, a checkpoint or the name of a network that comes with limpid."""
    settings: EditSettings
    image: str = ""
    """The image: its index in the training data of the model, or a file."""
    mask: str = ""
    """The file of the mask of `inpaint`, white where the image is generated anew."""

    def command(self) -> str:
        """The command, quoted for a shell."""
        settings = self.settings
        seed, n = str(settings.seed), str(settings.n)
        own = {
            "img2img": [
                *("--images", *[self.image] * settings.n),
                *("--strengths", f"{settings.strength:g}", "--seed", seed),
            ],
            "inpaint": [
                *("--images", self.image, "--mask", self.mask, "--seed", seed),
                *("--num-variations", n, "--resample", str(settings.resample)),
            ],
            "interpolate": ["--seeds", seed, str(settings.second_seed), "--num-variations", n],
        }
        words = ["limpid", "edit", settings.edit, self.path, *own[settings.edit], "--steps", str(settings.steps)]
        words += ["--labels", settings.label] if settings.label else []
        if settings.edit != "inpaint":
            words += sampling_options(changes(Sampling(sampler=Heun()), Sampling(sampler=settings.sampler)))
        return shlex.join(words)

    def python(self) -> str:
        """The same in Python."""
        settings = self.settings
        imports, lines = ["import limpid"], [f"pipeline = limpid.load({self.path!r})"]
        label = f"labels={settings.label!r}, " if settings.label else ""
        sampler = ""
        if settings.edit != "inpaint":
            imports.append(f"from limpid.diffusion.samplers import {type(settings.sampler).__name__}")
            sampler = f", sampler={sampler_call(settings.sampler)}"
        if settings.edit == "interpolate":
            ends = f"{settings.seed}, {settings.second_seed}, {settings.n}"
            lines.append(f"pixels = pipeline.interpolate_seeds({ends}, {label}steps={settings.steps}{sampler})")
            imports.append("from limpid.viz.image_grid import image_grid")
            return "\n".join([*imports, "", *lines, "image_grid(pixels)"])
        if self.image.isdecimal():
            imports.append("from limpid.sampling.training_data import dataset_image")
            lines.append(f'image, _ = dataset_image({self.image}, pipeline.recipe.data.open("cpu"))')
        else:
            imports.append("from PIL import Image")
            lines.append(f"image = Image.open({self.image!r})")
        if settings.edit == "img2img":
            given = f"[image] * {settings.n}, {settings.strength:g}, {label}seed={settings.seed}"
            given += f", steps={settings.steps}{sampler}"
        else:
            imports += ["import numpy as np", "import torch", "from PIL import Image"]
            lines.append(f"mask = torch.from_numpy(np.array(Image.open({self.mask!r})) > 127)")
            given = f"[image], mask, {label}seed={settings.seed}, num_variations={settings.n}, steps={settings.steps}"
            given += f", resample={settings.resample}"
        lines += [f"samples = pipeline.{settings.edit}({given})", "samples.grid()"]
        return "\n".join([*dict.fromkeys(imports), "", *lines])


def sampler_call(sampler: Sampler) -> str:
    """A sampler as Python writes it, with the fields that are not its defaults."""
    fields = ", ".join(f"{name}={value!r}" for name, value in changes(type(sampler)(), sampler).items())
    return f"{type(sampler).__name__}({fields})"
