"""The command and the lines of Python that make the same edit again."""

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
class EditCall:
    """An edit of one image, or an interpolation between two seeds."""

    path: str
    """What `load` takes: a run, a checkpoint or the name of a network that comes with limpid."""
    edit: EditKind
    image: str = ""
    """The image: its index in the training data of the model, or a file."""
    mask: str = ""
    """The file of the mask of `inpaint`, white where the image is generated anew."""
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
        """About how many network evaluations it takes."""
        if self.edit == "inpaint":
            return inpaint_evaluations(self.steps, self.resample)
        if self.edit == "img2img":
            return img2img_evaluations(self.sampler, self.steps, self.strength)
        return sampler_evaluations(self.sampler, self.steps)

    def command(self) -> str:
        """The command, quoted for a shell."""
        seed, n = str(self.seed), str(self.n)
        own = {
            "img2img": ["--images", *[self.image] * self.n, "--strengths", f"{self.strength:g}", "--seed", seed],
            "inpaint": [
                *("--images", self.image, "--mask", self.mask, "--seed", seed),
                *("--num-variations", n, "--resample", str(self.resample)),
            ],
            "interpolate": ["--seeds", seed, str(self.second_seed), "--num-variations", n],
        }
        words = ["limpid", "edit", self.edit, self.path, *own[self.edit], "--steps", str(self.steps)]
        words += ["--labels", self.label] if self.label else []
        if self.edit != "inpaint":
            words += sampling_options(changes(Sampling(sampler=Heun()), Sampling(sampler=self.sampler)))
        return shlex.join(words)

    def python(self) -> str:
        """The same in Python."""
        imports, lines = ["import limpid"], [f"pipeline = limpid.load({self.path!r})"]
        label = f"labels={self.label!r}, " if self.label else ""
        sampler = ""
        if self.edit != "inpaint":
            imports.append(f"from limpid.diffusion.samplers import {type(self.sampler).__name__}")
            sampler = f", sampler={sampler_call(self.sampler)}"
        if self.edit == "interpolate":
            ends = f"{self.seed}, {self.second_seed}, {self.n}"
            lines.append(f"pixels = pipeline.interpolate_seeds({ends}, {label}steps={self.steps}{sampler})")
            imports.append("from limpid.viz.image_grid import image_grid")
            return "\n".join([*imports, "", *lines, "image_grid(pixels)"])
        if self.image.isdecimal():
            imports.append("from limpid.sampling.training_data import dataset_image")
            lines.append(f'image, _ = dataset_image({self.image}, pipeline.recipe.data.open("cpu"))')
        else:
            imports.append("from PIL import Image")
            lines.append(f"image = Image.open({self.image!r})")
        if self.edit == "img2img":
            given = f"[image] * {self.n}, {self.strength:g}, {label}seed={self.seed}, steps={self.steps}{sampler}"
        else:
            imports += ["import numpy as np", "import torch", "from PIL import Image"]
            lines.append(f"mask = torch.from_numpy(np.array(Image.open({self.mask!r})) > 127)")
            given = f"[image], mask, {label}seed={self.seed}, num_variations={self.n}, steps={self.steps}"
            given += f", resample={self.resample}"
        lines += [f"samples = pipeline.{self.edit}({given})", "samples.grid()"]
        return "\n".join([*dict.fromkeys(imports), "", *lines])


def sampler_call(sampler: Sampler) -> str:
    """A sampler as Python writes it, with the fields that are not its defaults."""
    fields = ", ".join(f"{name}={value!r}" for name, value in changes(type(sampler)(), sampler).items())
    return f"{type(sampler).__name__}({fields})"
