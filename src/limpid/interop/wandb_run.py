"""Runs for Weights & Biases: the log, the sample grids and the recipe, over the number of images seen.

A line that was sent cannot be taken back there. So a file beside the run remembers up to which image lines were sent,
and a run that was resumed, or has gone back to an earlier checkpoint, sends only what comes after.
"""

import json
import os
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from limpid.interop.run_history import RunHistory, scalars_of_line
from limpid.storage.atomic import atomic_write

SECONDS_OF_SILENCE = 15.0
"""How long the start and the end of a run wait for a server that does not answer. What was not sent is in the files of
the run, and `wandb sync` sends it."""


def check_wandb_installed() -> None:
    """Raise ValueError if the package is missing."""
    if find_spec("wandb") is None:
        raise ValueError("Weights & Biases needs wandb: pip install 'limpid-diffusion[tracking]'")


class WandbRun:
    """A run of W&B, whose files are in a folder. Its mode and project are WANDB_MODE and WANDB_PROJECT, or `limpid`."""

    def __init__(self, folder: Path, history: RunHistory) -> None:
        import wandb

        if os.environ.get("WANDB_MODE", "online") == "online":  # else `init` asks for a key, in a thread
            wandb.setup(settings=wandb.Settings(silent=True))
            if not wandb.login(prompt=False, verify=False):
                raise ValueError("no API key is known: type wandb login, or set WANDB_MODE=offline")
        self.state = folder / "limpid.json"
        self.id, self.sent, self.names = self._read_state()
        folder.mkdir(parents=True, exist_ok=True)
        # A link to a folder, as the one to the latest run, is refused in the folder of a run.
        settings = wandb.Settings(
            silent=True,
            console="off",
            symlink=False,
            x_disable_stats=True,
            disable_git=True,
            init_timeout=SECONDS_OF_SILENCE,
            finish_timeout=SECONDS_OF_SILENCE,
            finish_timeout_raises=True,
        )
        project = os.environ.get("WANDB_PROJECT", "limpid")
        self.run = wandb.init(
            id=self.id,
            resume="allow",
            project=project,
            name=folder.parent.name,
            dir=str(folder.parent),
            config=history.hyperparameters,
            settings=settings,
        )
        self.run.define_metric("*", step_metric="images_seen")
        points: dict[int, dict[str, Any]] = {}
        for line in history.lines:
            points.setdefault(line["images_seen"], {}).update(scalars_of_line(line))
        for images_seen, grid in history.grids.items():
            points.setdefault(images_seen, {})["samples"] = self._image(grid)
        self._send({seen: points[seen] for seen in sorted(points)})

    def add_line(self, line: Mapping[str, Any], images_seen: int) -> None:
        """Add the numbers of a line of the log."""
        self._send({images_seen: scalars_of_line(line)})

    def add_grid(self, grid: Path, images_seen: int) -> None:
        """Add a sample grid."""
        self._send({images_seen: {"samples": self._image(grid)}})

    def flush(self) -> None:
        """Nothing: what is added is sent at once, by a process of W&B's own."""

    def close(self) -> None:
        """Send all, and end this part of the run."""
        self.run.finish()

    def _image(self, grid: Path) -> Any:
        import wandb

        return wandb.Image(str(grid))

    def _send(self, points: Mapping[int, Mapping[str, Any]]) -> None:
        for images_seen, values in points.items():
            before = self.names if images_seen == self.sent else []
            new = {name: value for name, value in values.items() if name not in before}
            if images_seen >= self.sent and new:
                self.run.log({"images_seen": images_seen, **new})
                self.sent, self.names = images_seen, [*before, *new]
        with atomic_write(self.state) as part:
            part.write_text(json.dumps({"id": self.id, "images_seen": self.sent, "names": self.names}))

    def _read_state(self) -> tuple[str, int, list[str]]:
        """The id of the run at W&B, and the images seen and the names of what was sent last; a new id at first."""
        try:
            plain = json.loads(self.state.read_text())
            return str(plain["id"]), int(plain["images_seen"]), list(plain["names"])
        except (OSError, ValueError, KeyError, TypeError):
            return secrets.token_hex(4), -1, []
