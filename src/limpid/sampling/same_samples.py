"""The command and the Python code that generate the same samples again."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limpid.recipes.changes import changes
from limpid.recipes.recipe import Sampling

BATCH_OF_COMMAND, BATCH_OF_CALL = 80, 64
"""The default batch sizes of `limpid sample` and of `Pipeline.sample`."""


@dataclass(frozen=True)
class SampleCall:
    """Samples of a model, generated in one batch."""

    path: str
    """What `load` takes: a run, a checkpoint or the name of a network that comes with limpid."""
    default: Sampling
    """The sampling of the model's recipe."""
    sampling: Sampling
    n: int
    seed: int = 0
    labels: tuple[str, ...] = ()
    weights: str = "ema"

    def command(self) -> str:
        """The command, quoted for a shell."""
        words = ["limpid", "sample", self.path, "--num-samples", str(self.n), "--seed", str(self.seed)]
        if self.n > BATCH_OF_COMMAND:
            words += ["--batch-size", str(self.n)]
        if self.labels:
            words += ["--labels", *self.labels]
        if self.weights != "ema":
            words += ["--weights", self.weights]
        return shlex.join(words + sampling_options(changes(self.default, self.sampling)))

    def python(self) -> str:
        """The same in Python."""
        weights = f", weights={self.weights!r}" if self.weights != "ema" else ""
        changed = changes(self.default, self.sampling)
        plain = [f"{name}={value!r}" for name, value in changed.items() if "." not in name]
        dotted = {name: value for name, value in changed.items() if "." in name}
        given = ", ".join(plain + ([f"**{dotted!r}"] if dotted else []))
        arguments = [str(self.n), f"seed={self.seed}"]
        arguments += [f"labels={list(self.labels)!r}"] if self.labels else []
        arguments += [f"batch_size={self.n}"] if self.n > BATCH_OF_CALL else []
        model = f"pipeline = limpid.load({self.path!r}{weights})"
        settings = f".with_sampling({given})" if given else ""
        return f"import limpid\n\n{model}{settings}\nsamples = pipeline.sample({', '.join(arguments)})\nsamples.grid()"


def sampling_options(changed: Mapping[str, Any]) -> list[str]:
    """The options of `limpid sample` for changes of a sampling, in their order."""
    return [word for name, value in changed.items() for word in _option(name.replace("_", "-"), value)]


def _option(name: str, value: Any) -> Sequence[str]:
    if isinstance(value, bool):
        return [f"--{name}", str(value).lower()]
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}", str(value)]
