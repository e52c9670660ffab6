"""The scores of a run while it trains, in its log, and the checkpoint that scored best."""

import math
import shutil
from functools import cached_property
from pathlib import Path

import torch

from limpid.evaluation.online import OnlineScorer
from limpid.recipes.serialize import to_dict
from limpid.runtime import distributed
from limpid.runtime.fsdp import gather_full
from limpid.runtime.log import logger
from limpid.storage import checkpoint, jsonl
from limpid.storage.atomic import durable_write
from limpid.training.active_run import Run, tolerate_disk_errors
from limpid.training.callbacks import Callback, crosses_multiple
from limpid.training.loop import StepMetrics
from limpid.training.training import Training

SCORING_ERRORS = (OSError, ValueError, FloatingPointError, torch.linalg.LinAlgError)  # pyright: ignore[reportPrivateImportUsage]
"""Errors of a score: missing data, samples or features that are not finite, a failed matrix decomposition."""


class OnlineScores(Callback):
    """Writes scores to log.jsonl, and best/."""

    def __init__(self, run: Run):
        self.run = run

    @cached_property
    def scorer(self) -> OnlineScorer:
        """Computes the score; made at its first use."""
        return OnlineScorer(self.run.recipe, self.run.recipe.every.score_images)

    @property
    def scores(self) -> list[jsonl.Line]:
        """The lines of the log that hold a score."""
        return [line for line in self.run.log.lines() if self.scorer.name in line]

    def due(self) -> bool:
        """Whether the last batch reached the next score."""
        return crosses_multiple(self.run.state.images_seen, self.run.recipe.batch_size, self.run.recipe.every.score)

    def on_start(self, training: Training) -> None:
        """Compute the score that is missing if the run was stopped just before it."""
        if training.recipe.every.score and distributed.is_main_process():
            with tolerate_disk_errors("the best checkpoint"):
                if not self.update_best():
                    best = self.run.folder / "best"
                    logger.warning(f"{best} lacks the checkpoint that scored best, of which none is left")
        seen = training.state.images_seen
        if self.due() and distributed.broadcast_object(
            lambda: all(line["images_seen"] != seen for line in self.scores)
        ):
            self.score()

    def on_step(self, step: StepMetrics, training: Training) -> None:
        if self.due() and not self.run.stop_requested():
            self.score()

    def on_checkpoint(self, path: Path, images_seen: int) -> None:
        if self.run.recipe.every.score:
            with self.run.pause_clock(), tolerate_disk_errors("the best checkpoint"):
                self.update_best()

    def score(self) -> None:
        """Add the score of the current weights to the log, and save them if it is the best so far.

        If samples or data cannot be scored, a warning is logged and the run continues without this score.
        """
        run = self.run
        run.raise_if_nonfinite()
        pipeline, tensors = run.training.live_pipeline(), gather_full(run.tensors())
        if not distributed.is_main_process():
            return
        name, seen, score = self.scorer.name, run.state.images_seen, None
        with run.pause_clock(), tolerate_disk_errors("a score", SCORING_ERRORS), run.stop.interruptible():
            score = self.scorer.measure(pipeline)
            before = [line[name] for line in self.scores]
            run.log.add({"images_seen": seen, name: score})
            if score < min(before, default=math.inf):
                data = to_dict(run.checkpoint_info())
                checkpoint.save_checkpoint(run.folder / "best", seen, tensors, data, keep=0)
            self.update_best()
        if score is not None:
            run.callbacks.on_score(name, score, seen)

    def update_best(self) -> bool:
        """Make `best/` hold the checkpoint with the best score in the log, if a copy is left; returns whether it does.

        After a kill or a disk error it may hold another one, or none. The previous best is removed only when a later
        checkpoint exists, since a rollback before that could remove the new score from the log.
        """
        scores = [line for line in self.scores if math.isfinite(line[self.scorer.name])]
        if not scores:
            return True
        seen = min(scores, key=lambda line: line[self.scorer.name])["images_seen"]
        folder, checkpoints = self.run.folder / "best", self.run.folder / "checkpoints"
        best, saved = (parent / checkpoint.file_name(seen) for parent in (folder, checkpoints))
        if not best.exists() and saved.exists():
            with durable_write(best) as part:
                shutil.copyfile(saved, part)
        if best.exists() and any(int(file.stem) >= seen for file in checkpoint.list_checkpoints(checkpoints)):
            for other in checkpoint.list_checkpoints(folder):
                if other != best:
                    other.unlink()
        return best.exists()
