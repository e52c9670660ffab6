"""On what a run computes: the device, the precision of its matrix products, whether the network is compiled."""

import os
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import nn

from limpid.learning import cpu, parallel

Module = TypeVar("Module", bound=nn.Module)
REPAID = 1_000_000
"""Images after which a GPU has won back the minutes of compiling, by far: at 3,000 a second they take five."""


@dataclass(frozen=True)
class Machine:
    """What to compute on; "auto" takes the best that is there."""

    device: str = "auto"
    """cpu, cuda, cuda:1, mps, ..."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16 computes the network in it and keeps weights, norms, loss and averages in float32."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the network: minutes at the start, faster steps on a GPU, nothing won on a CPU; "auto" does it on a GPU,
    for runs of a million images or more."""
    micro_batch: int = 0
    """Pictures that training computes at a time where memory is short, 0 for the whole batch: the sums are the same."""
    threads: int = 0
    """Threads on a CPU; 0 takes one for each core, or as many as get the most done beside other programs."""
    deterministic: bool = False
    """Only kernels that give the same bits each time: a GPU is slower then, a CPU needs none of it."""
    shard: bool = False
    """Train with each of several processes holding a part of the weights, averages and optimiser's memory, for networks
    that do not fit on one GPU."""

    def resolved(self, images: int = 0) -> "Machine":
        """This machine with its choices made for a run of so many images, torch told of them.

        Raises ValueError for a device that is not there.
        """
        if self.micro_batch < 0:
            raise ValueError(f"--micro-batch {self.micro_batch}: expected a number of pictures, 0 for the whole batch")
        if self.threads < 0:
            raise ValueError(f"--threads {self.threads}: expected a number of threads, 0 to choose them here")
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
            torch.use_deterministic_algorithms(True)
        if self.shard and parallel.count() == 1:
            raise ValueError("--shard with one process: expected several, started by torchrun")
        device = parallel.device_of(_best_device() if self.device == "auto" else self.device)
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"no device '{device}' here: choose from {', '.join(_devices())}") from error
        threads = self.threads
        if device == "cpu":
            cpu.settle()
            threads = threads or (cpu.threads_beside_others(torch.get_num_threads()) if images else 0)
            torch.set_num_threads(threads or torch.get_num_threads())
        elif device.startswith("cuda"):
            # What names no device, as events and autocast, means the current one.
            torch.cuda.set_device(torch.device(device).index or 0)
            torch.backends.cudnn.benchmark = not self.deterministic
            # Since torch 2.11 its backward gives NaN for some lengths (#196678); the other kernels are as quick here.
            torch.backends.cuda.enable_cudnn_sdp(False)
        best = "bfloat16" if _has_bfloat16(device) else "float32"
        precision = best if self.precision == "auto" else self.precision
        repaid = device.startswith("cuda") and images >= REPAID
        compiled = repaid if self.compile == "auto" else self.compile
        return replace(self, device=device, precision=precision, compile=compiled, threads=threads)

    def place(self, module: Module) -> Module:
        """The module on this device, its kernels laid out with channels last, as convolutions like them."""
        return module.to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def autocast(self) -> torch.autocast:
        """The context in which the network runs."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bfloat16")

    def __str__(self) -> str:
        number = torch.get_num_threads()
        threads = f", {number} thread{'s'[: number != 1]}" if self.device == "cpu" else ""
        many = f"{parallel.count()} processes, each on " if parallel.count() > 1 else ""
        how = f"{', compiled' if self.compile is True else ''}{', sharded' if self.shard else ''}"
        return f"{many}{self.device}{threads}, {self.precision}{how}"


def _devices() -> list[str]:
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def _best_device() -> str:
    return _devices()[0].split(":")[0]


def _has_bfloat16(device: str) -> bool:
    """Whether bfloat16 is faster than float32 there; CPUs without the instructions only emulate it."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and cpu.has_bfloat16()
