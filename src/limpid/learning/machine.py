"""On what a run computes: the device, the precision of its matrix products, whether the network is compiled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Machine:
    """What to compute on; "auto" takes the best that is there."""

    device: str = "auto"
    """cpu, cuda, cuda:1, mps, ..."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16 computes the network in it and keeps weights, norms, loss and averages in float32."""
    compile: bool = False
    """Compile the network: minutes at the start, faster steps on a GPU, nothing won on a CPU."""

    def resolved(self) -> "Machine":
        """This machine with its choices made. Raises ValueError for a device that is not there."""
        device = _best_device() if self.device == "auto" else self.device
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"no device '{device}' here: choose from {', '.join(_devices())}") from error
        best = "bfloat16" if _has_bfloat16(device) else "float32"
        return Machine(device, best if self.precision == "auto" else self.precision, self.compile)

    def place(self, module: Module) -> Module:
        """The module on this device, its kernels laid out with channels last, as convolutions like them."""
        return module.to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def autocast(self) -> torch.autocast:
        """The context in which the network runs."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bfloat16")

    def __str__(self) -> str:
        threads = f", {torch.get_num_threads()} threads" if self.device == "cpu" else ""
        return f"{self.device}{threads}, {self.precision}{', compiled' if self.compile else ''}"


def _devices() -> list[str]:
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def _best_device() -> str:
    return _devices()[0].split(":")[0]


def _has_bfloat16(device: str) -> bool:
    """Whether bfloat16 is faster than float32 there; CPUs without the instructions only emulate it."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo")
    return device == "cpu" and flags.exists() and "avx512_bf16" in flags.read_text()
