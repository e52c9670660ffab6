"""`limpid evaluate`: scores of the samples of a run, or of images from files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeAlias, get_args

from limpid.cli.parser import FLATTEN, gives_option, parse, positional
from limpid.cli.progress import progress_bar
from limpid.cli.sweep import parse_sweep, sweep_plot, sweep_table, to_arguments
from limpid.data import Cifar10, Data, Digits, Folder
from limpid.evaluation.evaluate import ExtractedImages, evaluate_images
from limpid.evaluation.generated import from_images
from limpid.evaluation.model import TrainedModel, Weights, evaluate_model, evaluate_samples, is_run
from limpid.evaluation.model_metrics import ModelMetrics
from limpid.evaluation.reference import ReferenceStats, load_all_images
from limpid.evaluation.reference_set import (
    ReferenceSet,
    reference_set,
    shared_extractor,
    training_data_or_reason,
    with_class_counts,
)
from limpid.evaluation.report import EvalReport
from limpid.evaluation.report_file import add_report, check_writable
from limpid.evaluation.scores import check_sample_size
from limpid.metrics import stats_file
from limpid.metrics.moments import Moments
from limpid.recipes.recipe import DataPlace, Sampling
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import (
    CheckpointRef,
    find_checkpoint,
    is_pretrained,
    load_guides,
    output_folder,
    pretrained_hint,
)
from limpid.sampling.pipeline import load_checkpoint


@dataclass(frozen=True)
class TrainingData:
    """The training set of the evaluated run."""


ReferenceChoice: TypeAlias = TrainingData | Cifar10 | Digits | Folder | ReferenceStats


@dataclass(frozen=True)
class EvalOptions:
    """How images are evaluated, samples of a run or images from files."""

    reference: ReferenceChoice = TrainingData()
    """The real images that they are compared with, or the statistics of such images."""
    n: int = 10_000
    """Number of images to evaluate; only scores of equal n compare."""
    features: str = "cifar"
    """The feature network. cifar is limpid's own classifier, and gives FD-CIFAR. The others give FID, by Inception with
    the preprocessing of this tool: torch-fidelity, edm, pytorch-fid, clean-fid, clean-fid-legacy-tensorflow,
    clean-fid-legacy-pytorch or torchmetrics."""
    inception: str = ""
    """File of the Inception weights; without it they are looked up in torch's cache, or downloaded."""
    out: Path = Path("scores.json")
    """The file that the scores are added to."""
    save_stats: str = ""
    """Also write the mean and covariance of the features, as mu and sigma, to this .npz file."""


@dataclass(frozen=True)
class EvaluateRun:
    """Compute FID or FD-CIFAR and other metrics of samples of a run, against real images."""

    options: Annotated[EvalOptions, FLATTEN]
    sampling: Annotated[Sampling, FLATTEN]
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
    seed: int = 0
    """Seed of the first sample; the following samples have the following seeds."""
    weights: Weights = "ema"
    """ema: the exponential moving average of the weights; raw: the weights of the last step."""
    batch_size: int = 250
    """Images sampled at a time."""
    metrics: Annotated[ModelMetrics, FLATTEN] = ModelMetrics()
    data: DataPlace = DataPlace()
    sweep: tuple[str, ...] = ()
    """Evaluate every combination of several values of options, as in: steps=10,20,50 guidance=1,1.5,2."""


@dataclass(frozen=True)
class EvaluateFiles:
    """Compute FID or FD-CIFAR and other metrics of the images of a folder, a .zip or an .npz, against real images."""

    options: Annotated[EvalOptions, FLATTEN]
    images: Folder
    runtime: Annotated[Runtime, FLATTEN] = Runtime()


def default_options() -> dict[str, object]:
    """The options of the command, by what is typed before them."""
    return {
        "limpid evaluate RUN": EvaluateRun(EvalOptions(out=Path("RUN/scores.json")), Sampling()),
        "limpid evaluate IMAGES": EvaluateFiles(
            EvalOptions(Cifar10(), out=Path("IMAGES.scores.json")), Folder(split="all")
        ),
    }


def main(arguments: Sequence[str]) -> int:
    """`limpid evaluate RUN|IMAGES [options]`."""
    name, rest = positional("evaluate", "RUN, or a folder, .zip or .npz of images", arguments)
    path = Path(name)
    if not path.exists() and not is_pretrained(path):
        expected = "expected a run, or a folder, .zip or .npz of images"
        raise ValueError(f"there is no {name}: {expected}; {pretrained_hint(path)}")
    return evaluate_run(path, rest) if is_run(path) else evaluate_files(path, rest)


def evaluate_run(path: Path, rest: Sequence[str]) -> int:
    """Evaluate samples of a run, with one setting or in a sweep."""
    ref, folder = find_checkpoint(path), output_folder(path)
    default = EvaluateRun(EvalOptions(out=folder / "scores.json"), ref.about.recipe.sampling)
    command = parse(default, rest, f"limpid evaluate {path}")
    options = command.options
    check_writable(options.out)
    runtime, sweep = command.runtime.resolve().setup(), parse_sweep(command.sweep)
    program = f"limpid evaluate {path} --sweep"
    points = [parse(replace(command, sweep=()), to_arguments(settings), program) for settings in sweep]
    check_sweep(command, points)
    points = points or [command]
    distributed.init(runtime.device)
    ref, samplings = distributed.broadcast_object(lambda: (ref, [point.sampling for point in points]))
    points = [replace(point, sampling=sampling) for point, sampling in zip(points, samplings, strict=True)]
    data = training_data_or_reason(ref.about, command.data.root, path)
    models = load_models(path, ref, data, points, runtime)
    source = reference_of(options, data)
    real = reference_set(source, shared_extractor(options.features, options.inception, runtime.device), options.n)
    for point in points:
        check_sample_size(point.options.n, real.reference)
    if sweep:
        return evaluate_sweep(sweep, models, points, real)
    with progress_bar(options.n, "images") as on_progress:
        report, samples, figures = evaluate_model(
            models[0],
            source,
            real,
            seeds_of(command),
            command.batch_size,
            command.metrics,
            options.out.parent,
            on_progress,
        )
    if distributed.is_main_process():
        print_and_save(report, samples, options, figures)
    return 0


def load_models(
    path: Path, ref: CheckpointRef, data: Data | str, points: Sequence[EvaluateRun], runtime: Runtime
) -> list[TrainedModel]:
    """The model of each point of a sweep, with its sampling and guidance model."""
    pipelines = {
        weights: with_class_counts(load_checkpoint(ref, runtime, weights), data)
        for weights in get_args(Weights)
        if weights in {point.weights for point in points}
    }
    models = []
    for point, guide in zip(points, load_guides([point.sampling for point in points], runtime), strict=True):
        pipeline = replace(pipelines[point.weights].with_sampling(point.sampling), guide=guide)
        models.append(TrainedModel(pipeline, str(path), data, point.weights, output_folder(path)))
    return models


def reference_of(options: EvalOptions, training_data: Data | str) -> Data | ReferenceStats:
    """The reference that is chosen. Raises ValueError if it is the training set of a run, and that is missing."""
    if not isinstance(options.reference, TrainingData):
        return options.reference
    if isinstance(training_data, str):
        raise ValueError(training_data)
    return training_data


def seeds_of(command: EvaluateRun) -> range:
    """The seeds of the samples."""
    return range(command.seed, command.seed + command.options.n)


def check_sweep(command: EvaluateRun, points: Sequence[EvaluateRun]) -> None:
    """Raise ValueError for a sweep over options that are equal for all of it, or with metrics that it leaves out."""
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
            raise ValueError("--sweep varies options of sampling, and n: give other options beside it, once for all")
    more = command.metrics.likelihood_images or command.metrics.cas or command.options.save_stats
    if points and more:
        raise ValueError("--sweep saves scores of samples only: leave out --likelihood-images, --cas and --save-stats")


def evaluate_sweep(
    sweep: Sequence[dict[str, str]], models: Sequence[TrainedModel], points: Sequence[EvaluateRun], real: ReferenceSet
) -> int:
    """Evaluate the samples of every point, save the scores, and print and plot the distances."""
    results: list[tuple[dict[str, str], EvalReport]] = []
    out, name = points[0].options.out, real.extractor.distance_name
    for settings, model, point in zip(sweep, models, points, strict=True):
        with progress_bar(point.options.n, "images") as on_progress:
            report, _ = evaluate_samples(model, real, seeds_of(point), point.batch_size, on_progress)
        if distributed.is_main_process():
            add_report(report, out)
        results.append((settings, report))
    if distributed.is_main_process():
        echo(sweep_table(results, name), end="\n\n")
        for file in (out, sweep_plot(results, name, out.parent / "sweep.png")):
            echo(file)
    return 0


def evaluate_files(path: Path, rest: Sequence[str]) -> int:
    """Evaluate the images of a folder, a .zip or an .npz."""
    default = EvaluateFiles(
        EvalOptions(Cifar10(), out=path.with_name(f"{path.name}.scores.json")), Folder(str(path), split="all")
    )
    command = parse(default, rest, f"limpid evaluate {path}")
    options, runtime = command.options, command.runtime.resolve().setup()
    check_writable(options.out)
    distributed.init(runtime.device)
    source = reference_of(options, f"{path} is no run: name what to compare it with by --reference")
    images = load_all_images(command.images)
    if len(images) < options.n:
        if gives_option(rest, "--n", default):
            raise ValueError(f"{path} holds {len(images):,} images, fewer than --n {options.n:,}")
        options = replace(options, n=len(images))
        echo(f"{path} holds {len(images):,} images: --n {len(images)}; only scores of equal n compare", to_stderr=True)
    subset = from_images(images.subset(options.n), str(path))
    real = reference_set(source, shared_extractor(options.features, options.inception, runtime.device), options.n)
    with progress_bar(subset.n, "images") as on_progress:
        report, extracted = evaluate_images(subset, real, runtime, on_progress)
    if distributed.is_main_process():
        print_and_save(report, extracted, options)
    return 0


def print_and_save(
    report: EvalReport, extracted: ExtractedImages, options: EvalOptions, figures: Sequence[Path] = ()
) -> None:
    """Print the report and add it to its file, write the statistics of the features if asked, and name all files."""
    echo(report, end="\n\n")
    files = [add_report(report, options.out), *figures]
    if options.save_stats:
        statistics = Moments.of(extracted.features.features).statistics
        files.append(stats_file.save_stats(options.save_stats, statistics))
    for file in files:
        echo(file)
