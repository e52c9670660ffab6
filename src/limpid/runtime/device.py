"""Where and how a run computes: the device, the precision of the network, whether it is compiled."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeVar

import torch
from torch import nn

from limpid.runtime import cpu, distributed

Module = TypeVar("Module", bound=nn.Module)
AnyRuntime = TypeVar("AnyRuntime", bound="Runtime")
COMPILE_FROM_IMAGES = 1_000_000
"""Images from which compiling pays off on a GPU: at 3,000 images per second they take five minutes."""
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Environment variable that makes the summation order of cuBLAS deterministic."""


@dataclass(frozen=True)
class Runtime:
    """Device, precision, compilation and threads; "auto" takes the best that this machine has."""

    device: str = "auto"
    """cpu, cuda, cuda:1, mps, ..."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16 is used for the network; weights, norms, loss and EMA stay in float32."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the network: it takes minutes at the start, and makes steps faster on a GPU but not on a CPU.
    auto: compile on a GPU, for runs of a million images or more."""
    threads: int = 0
    """Threads on a CPU; 0 takes one for each core, or fewer if that is faster beside other programs."""

    def resolve(self: AnyRuntime, images: int = 0) -> AnyRuntime:
        """The runtime with every "auto" decided, for a run of `images` images; nothing in the process changes.

        `threads` stays 0 where it was not given: torch's own setting then holds. Raises ValueError for a device that
        this machine does not have.
        """
        if self.threads < 0:
            raise ValueError(f"--threads {self.threads}: expected a number of threads, 0 to choose them here")
        device = distributed.device_of(_best_device() if self.device == "auto" else self.device)
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"no device '{device}' here: choose from {', '.join(_devices())}") from error
        best = "bfloat16" if _is_bfloat16_faster(device) else "float32"
        precision = best if self.precision == "auto" else self.precision
        pays_off = device.startswith("cuda") and images >= COMPILE_FROM_IMAGES
        compiled = pays_off if self.compile == "auto" else self.compile
        return replace(self, device=device, precision=precision, compile=compiled)

    def setup(self: AnyRuntime) -> AnyRuntime:
        """Tune this process permanently: its memory, threads and torch's settings. Returns the runtime with the number
        of threads that was chosen.

        For programs that do nothing else, like limpid's commands; inside another program use `settings`.
        """
        tuned = self
        if self.device == "cpu":
            cpu.tune_process()
            tuned = replace(self, threads=self.threads or cpu.best_thread_count(torch.get_num_threads()))
        tuned._apply_settings()
        return tuned

    @contextmanager
    def settings(self) -> Iterator[None]:
        """A context with torch's settings for this runtime: threads, determinism, cuDNN, CUDA device. It restores those
        from before."""
        with ExitStack() as undo:
            undo.callback(torch.set_num_threads, torch.get_num_threads())
            warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
            deterministic = torch.are_deterministic_algorithms_enabled()
            undo.callback(torch.use_deterministic_algorithms, deterministic, warn_only=warn_only)
            undo.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
            if self.device.startswith("cuda"):
                undo.callback(torch.cuda.set_device, torch.cuda.current_device())
            if WORKSPACE not in os.environ:
                undo.callback(os.environ.pop, WORKSPACE, None)
            self._apply_settings()
            yield

    @contextmanager
    def sampling_threads(self) -> Iterator[None]:
        """A context with the number of threads that is fastest now, beside other programs, unless `threads` was given.

        The bits of a run depend on its number of threads, so training keeps one; sample grids need not.
        """
        before = torch.get_num_threads()
        try:
            if self.device == "cpu" and not self.threads:
                torch.set_num_threads(cpu.best_thread_count(before))
            yield
        finally:
            torch.set_num_threads(before)

    def _apply_settings(self) -> None:
        if self.device == "cpu" and self.threads:
            torch.set_num_threads(self.threads)
        elif self.device.startswith("cuda"):
            # CUDA events and autocast use the current device.
            torch.cuda.set_device(torch.device(self.device).index or 0)
            torch.backends.cudnn.benchmark = True

    def to_device(self, module: Module) -> Module:
        """The module on this device, its convolution weights in the channels-last layout, in which they are fastest."""
        return module.to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The context in which the network runs: autocast to `precision`, and cuDNN's attention turned off.

        Since torch 2.11 its backward pass gives NaN for some sequence lengths (pytorch issue 196678), and the other
        attention kernels are as fast at the sizes of small images.
        """
        kind = torch.device(self.device).type
        with ExitStack() as stack:
            if kind == "cuda" and torch.backends.cuda.cudnn_sdp_enabled():
                torch.backends.cuda.enable_cudnn_sdp(False)
                stack.callback(torch.backends.cuda.enable_cudnn_sdp, True)
            stack.enter_context(torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bfloat16"))
            yield

    def __str__(self) -> str:
        number = torch.get_num_threads()
        threads = f", {number} thread{'s'[: number != 1]}" if self.device == "cpu" else ""
        processes = f"{distributed.world_size()} processes, each on " if distributed.world_size() > 1 else ""
        return f"{processes}{self.device}{threads}, {self.precision}{', compiled' if self.compile is True else ''}"


@dataclass(frozen=True)
class TrainingRuntime(Runtime):
    """A runtime with the options that only training has."""

    micro_batch: int = 0
    """Images in one forward and backward pass; gradients are accumulated over the batch. 0 is the complete batch."""
    deterministic: bool = False
    """Use only deterministic kernels: slower on a GPU; a CPU is deterministic anyway."""
    fsdp: bool = False
    """Shard weights, EMAs and optimizer state over the processes (FSDP2), for networks that do not fit on one GPU."""

    @classmethod
    def from_runtime(cls, runtime: Runtime | None) -> "TrainingRuntime":
        """The same options for training; the defaults for None."""
        if isinstance(runtime, TrainingRuntime):
            return runtime
        return cls() if runtime is None else cls(*(getattr(runtime, spec.name) for spec in fields(runtime)))

    def resolve(self, images: int = 0) -> "TrainingRuntime":
        """As `Runtime.resolve`. Raises ValueError too for a negative micro-batch, and for FSDP with one process."""
        if self.micro_batch < 0:
            raise ValueError(f"--micro-batch {self.micro_batch}: expected a number of images, 0 for the complete batch")
        if self.fsdp and distributed.world_size() == 1:
            raise ValueError("--fsdp with one process: expected several, started by torchrun")
        return super().resolve(images)

    def _apply_settings(self) -> None:
        if self.deterministic:
            os.environ.setdefault(WORKSPACE, ":4096:8")  # read when cuBLAS is first used
            torch.use_deterministic_algorithms(True)
        super()._apply_settings()
        if self.deterministic and self.device.startswith("cuda"):
            torch.backends.cudnn.benchmark = False

    def __str__(self) -> str:
        return super().__str__() + (", sharded" if self.fsdp else "")


def _devices() -> list[str]:
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def _best_device() -> str:
    return _devices()[0].split(":")[0]


def _is_bfloat16_faster(device: str) -> bool:
    """Whether bfloat16 is faster than float32 there."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and cpu.is_bfloat16_faster()
