"""Callbacks get every event of a run, and progress is one line."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from own_data import PIXELS, UNCONDITIONAL
from tiny_recipes import CPU, TINY

from limpid.recipes.recipe import Every
from limpid.sampling.samples import Samples
from limpid.storage import checkpoint
from limpid.training.api import train
from limpid.training.callbacks import Callback
from limpid.training.training import Training

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_every_event_reaches_a_callback(tmp_path: Path):
    events = []

    class Record(Callback):
        def on_start(self, training: Training) -> None:
            events.append("start")

        def on_log(self, line, images_seen: int) -> None:
            events.append(("log", images_seen, sorted(line)[:2]))

        def on_samples(self, samples: Samples, images_seen: int) -> None:
            events.append(("samples", images_seen, tuple(samples.pixels.shape)))

        def on_checkpoint(self, path: Path, images_seen: int) -> None:
            events.append(("checkpoint", images_seen, path.name))

        def on_end(self, training: Training) -> None:
            events.append("end")

    recipe = replace(UNCONDITIONAL, duration=32, every=Every(log=32, sample=32, save=32))
    train(recipe, run=tmp_path, callbacks=[Record()], runtime=CPU)
    assert events == [
        ("checkpoint", 0, checkpoint.file_name(0)),
        "start",
        ("log", 32, ["grad_norm", "images_per_second"]),
        ("checkpoint", 32, checkpoint.file_name(32)),
        ("samples", 32, (64, 1, 8, 8)),
        "end",
    ]


def test_a_callback_method_that_is_never_called_is_refused():
    class Misspelt(Callback):
        def on_steps(self) -> None:
            pass

    with pytest.raises(ValueError, match=r"Misspelt.on_steps is never called: choose from on_start, on_step, "):
        train(TINY, callbacks=[Misspelt()], runtime=CPU)


def test_progress_is_one_line_that_is_overwritten(capsys: pytest.CaptureFixture[str]):
    train(UNCONDITIONAL, PIXELS, runtime=CPU, progress=True)
    description, _, line = capsys.readouterr().out.partition("  no classes\n")
    assert description.startswith("images: 40 images of 8x8, grey")
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert re.search(r"\r64 of 64 images  loss \S+  \S+ images/s  in \d+ s *\n$", line)
    train(UNCONDITIONAL, PIXELS, runtime=CPU)
    assert "\r" not in capsys.readouterr().out
