"""Faults that tests put into a run of this process: signals, non-finite images, too little memory."""

import math
import signal
from collections.abc import Callable

import pytest
import torch

from limpid.training import accumulate, loop
from limpid.training.accumulate import NoisyBatch
from limpid.training.loop import StepMetrics
from limpid.training.loss_log import LossLog
from limpid.training.state import TrainState


def call_at(images_seen: int, act: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Call `act` before a run writes the line of its log after this many images."""
    write_line = LossLog.write_line

    def act_and_write(self: LossLog, step: StepMetrics) -> None:
        if step.images_seen == images_seen:
            act()
        return write_line(self, step)

    patch.setattr(LossLog, "write_line", act_and_write)


def stop_at(images_seen: int, patch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C as the line of the log after this many images is written."""
    call_at(images_seen, lambda: signal.raise_signal(signal.SIGINT), patch)


def put_nan_at(positions: set[int], patch: pytest.MonkeyPatch) -> None:
    """Put a NaN into the third image of each batch that begins at one of these positions in the data."""
    make_noisy_batch = loop.make_noisy_batch

    def with_nan(state: TrainState, *args) -> NoisyBatch:
        noisy = make_noisy_batch(state, *args)
        if state.data_position in positions:
            noisy.x0[2, 0, 0, 0] = math.nan
        return noisy

    patch.setattr(loop, "make_noisy_batch", with_nan)


def limit_memory(max_images: int, patch: pytest.MonkeyPatch) -> None:
    """Let the loss of more than this many images at a time fail as on a GPU without memory."""
    denoising_loss = accumulate.denoising_loss

    def limited(model, x0, *args):
        loss = denoising_loss(model, x0, *args)
        if len(x0) > max_images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines")
        return loss

    patch.setattr(accumulate, "denoising_loss", limited)
