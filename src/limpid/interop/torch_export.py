"""A denoiser as a program of torch.export: a graph that runs without limpid, with batches of any size."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from limpid.diffusion.denoiser import Denoiser
from limpid.diffusion.level import Level
from limpid.storage.atomic import atomic_write

ImageTensor = Float[Tensor, "b c h w"]


class TensorDenoiser(nn.Module):
    """A denoiser that takes and returns tensors alone, as exported graphs do.

    forward(x, alpha, sigma, labels) is E[x0 | x], and after it the fraction of the large variance where the network
    learns one. `alpha` and `sigma` have a float64 for each image; a model without classes takes no labels.
    """

    def __init__(self, model: Denoiser):
        super().__init__()
        self.model = model

    def forward(
        self,
        x: ImageTensor,
        alpha: Float[Tensor, " b"],
        sigma: Float[Tensor, " b"],
        labels: Int[Tensor, " b"] | None = None,
    ) -> ImageTensor | tuple[ImageTensor, ImageTensor]:
        """E[x0 | x] of each image at its own level."""
        x0, variance_fraction = self.model.denoise_with_variance(x, Level(alpha, sigma), labels)
        return x0 if variance_fraction is None else (x0, variance_fraction)

    def input_names(self) -> list[str]:
        """The names of the inputs."""
        return ["x", "alpha", "sigma", *(["labels"] if self.model.null_label else [])]

    def output_names(self) -> list[str]:
        """The names of the outputs."""
        return ["x0", *(["variance_fraction"] if self.model.learns_variance else [])]


def program_and_inputs(model: Denoiser, shape: tuple[int, int, int]) -> tuple[TensorDenoiser, tuple[Tensor, ...]]:
    """The module to export, and inputs to trace it with: a batch of two, since a size of one would become a constant.

    It is evaluated once, so that what a denoiser caches is computed before a tracer looks on.
    """
    program = TensorDenoiser(model).eval()
    # One tensor in two places would become one input.
    alpha, sigma = torch.full((2,), 0.6, dtype=torch.float64), torch.full((2,), 0.8, dtype=torch.float64)
    labels = [torch.zeros(2, dtype=torch.int64)] if model.null_label else []
    inputs = (torch.zeros(2, *shape), alpha, sigma, *labels)
    with torch.no_grad():
        program(*inputs)
    return program, inputs


def torch_program(model: Denoiser, shape: tuple[int, int, int]) -> ExportedProgram:
    """The program of a model on the CPU for images of `shape` (c, h, w): `program.module()(x, alpha, sigma, labels)`.

    Raises ValueError for a network that torch.export cannot follow.
    """
    program, inputs = program_and_inputs(model, shape)
    batch = {0: Dim("batch")}
    with torch.no_grad(), exporter_warnings_silenced():
        try:
            exported = torch.export.export(program, inputs, dynamic_shapes=(batch,) * len(inputs))
        except Exception as error:  # of any type: one's own network may do anything
            raise ValueError(f"{type(model.net).__name__} cannot be exported: {str(error).splitlines()[0]}") from error
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds the paths of this machine
    return exported


def save_torch_program(model: Denoiser, shape: tuple[int, int, int], path: Path) -> Path:
    """Write the program of a model to a .pt2 file, which `torch.export.load` reads. Raises as `torch_program`."""
    exported = torch_program(model, shape)
    with atomic_write(path) as part, part.open("wb") as file, exporter_warnings_silenced():
        torch.export.save(exported, file)
    return path


@contextmanager
def exporter_warnings_silenced() -> Iterator[None]:
    """A context without the warnings that torch's exporters give about torch's own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
