"""Sweeps over sampling options: `limpid evaluate RUN --sweep steps=10,20,50 guidance=1,1.5,2`."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from limpid.cli.evaluate_options import EvaluateRun
from limpid.cli.progress import progress_bar
from limpid.evaluation.model import TrainedModel, evaluate_samples
from limpid.evaluation.reference_set import ReferenceSet
from limpid.evaluation.report_file import add_report
from limpid.evaluation.sweep import SweepResult, sweep_plot, sweep_table
from limpid.runtime import distributed
from limpid.runtime.terminal import echo


def parse_sweep(words: Sequence[str]) -> list[dict[str, str]]:
    """Every combination of the values of all options, each given as `name=value,value`. Raises ValueError if not."""
    values: dict[str, list[str]] = {}
    for word in words:
        name, equals, given = word.partition("=")
        name = name.removeprefix("--")
        if not (equals and name and all(given.split(","))):
            raise ValueError(f"--sweep {word}: expected an option and its values, as in steps=10,20,50")
        values[name] = given.split(",")
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())] if values else []


def to_arguments(settings: dict[str, str]) -> list[str]:
    """The options of one point of a sweep, as the command takes them."""
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def check_sweep(command: EvaluateRun, points: Sequence[EvaluateRun]) -> None:
    """Raise ValueError for a sweep over options that all points must share, or with metrics that a sweep omits."""
    for point in points:
        varied = replace(
            command,
            sampling=point.sampling,
            seed=point.seed,
            weights=point.weights,
            batch_size=point.batch_size,
            options=replace(command.options, n=point.options.n),
        )
        if replace(point, sweep=command.sweep) != varied:
            raise ValueError(
                "--sweep varies options of sampling, and n: give other options outside of --sweep, once for all points"
            )
    more = command.metrics.likelihood_images or command.metrics.cas or command.options.save_stats
    if points and more:
        raise ValueError("--sweep saves scores of samples only: leave out --likelihood-images, --cas and --save-stats")


def evaluate_sweep(
    sweep: Sequence[dict[str, str]], models: Sequence[TrainedModel], points: Sequence[EvaluateRun], real: ReferenceSet
) -> int:
    """Evaluate the samples of every point, save the scores, and print and plot the distances."""
    results: list[SweepResult] = []
    out, name = points[0].options.out, real.extractor.distance_name
    for settings, model, point in zip(sweep, models, points, strict=True):
        with progress_bar(point.options.n, "images") as on_progress:
            report, _ = evaluate_samples(model, real, point.seeds, point.batch_size, on_progress)
        if distributed.is_main_process():
            add_report(report, out)
        results.append(SweepResult(settings, report))
    if distributed.is_main_process():
        echo(sweep_table(results, name), end="\n\n")
        for file in (out, sweep_plot(results, name, out.parent / "sweep.png")):
            echo(file)
    return 0
