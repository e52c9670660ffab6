"""`limpid evaluate`: scores of the samples of a run, or of images from files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from limpid.cli.evaluate_options import EvalOptions, EvaluateFiles, EvaluateRun, TrainingData
from limpid.cli.parser import gives_option, parse, positional
from limpid.cli.progress import progress_bar
from limpid.cli.sweep import check_sweep, evaluate_sweep, parse_sweep, to_arguments
from limpid.data import Cifar10, Data, Folder
from limpid.data.images import ImageDataset
from limpid.evaluation.evaluate import ExtractedImages, evaluate_images
from limpid.evaluation.generated import from_images
from limpid.evaluation.model import check_samplable, evaluate_model, is_run, load_models
from limpid.evaluation.reference import ReferenceStats, load_all_images
from limpid.evaluation.reference_set import reference_set, shared_extractor, training_data_or_reason
from limpid.evaluation.report import EvalReport
from limpid.evaluation.report_file import add_report, check_writable
from limpid.evaluation.scores import check_counts, check_sample_size
from limpid.metrics import stats_file
from limpid.metrics.moments import Moments
from limpid.recipes.recipe import Sampling
from limpid.runtime import distributed
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_checkpoint, is_model_name, output_folder, pretrained_hint


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {
        "limpid evaluate RUN": EvaluateRun(EvalOptions(out=Path("RUN/scores.json")), Sampling()),
        "limpid evaluate IMAGES": EvaluateFiles(
            EvalOptions(Cifar10(), out=Path("IMAGES.scores.json")), Folder(split="all")
        ),
    }


def main(arguments: Sequence[str]) -> int:
    """`limpid evaluate RUN|IMAGES [options]`."""
    name, rest = positional("evaluate", "RUN, or a folder, .zip or .npz of images", arguments, "RUN-or-IMAGES")
    path = Path(name)
    if not path.exists() and not is_model_name(path):
        expected = "expected a run, or a folder, .zip or .npz of images"
        raise ValueError(f"there is no {name}: {expected}; {pretrained_hint(path)}")
    return evaluate_run(path, rest) if is_run(path) else evaluate_files(path, rest)


def evaluate_run(path: Path, rest: Sequence[str]) -> int:
    """Evaluate samples of a run, with one setting or in a sweep."""
    ref = find_checkpoint(path)
    default = EvaluateRun(EvalOptions(out=output_folder(path) / "scores.json"), ref.about.recipe.sampling)
    command = parse(default, rest, f"limpid evaluate {path}")
    options = command.options
    check_writable(options.out)
    runtime, sweep = command.runtime.resolve().setup(), parse_sweep(command.sweep)
    program = f"limpid evaluate {path} --sweep"
    points = [parse(replace(command, sweep=()), to_arguments(settings), program) for settings in sweep]
    check_sweep(command, points)
    points = points or [command]
    for point in points:
        check_counts(point.options.n, point.batch_size)
    distributed.init(runtime.device)
    ref, samplings = distributed.broadcast_object(lambda: (ref, [point.sampling for point in points]))
    points = [replace(point, sampling=sampling) for point, sampling in zip(points, samplings, strict=True)]
    data = training_data_or_reason(ref.about, command.data.root, path)
    models = load_models(ref, path, data, [(point.sampling, point.weights) for point in points], runtime)
    for model in models:
        check_samplable(model.pipeline)
    source = reference_of(options, data)
    real = reference_set(source, shared_extractor(options.features, options.inception, runtime.device), options.n)
    print_images(real.reference.images)
    if sweep:
        return evaluate_sweep(sweep, models, points, real)
    with progress_bar(options.n, "images") as on_progress:
        report, samples, files = evaluate_model(
            models[0], source, real, command.seeds, command.batch_size, command.metrics, options.out.parent, on_progress
        )
    if distributed.is_main_process():
        print_and_save(report, samples, options, files)
    return 0


def reference_of(options: EvalOptions, training_data: Data | str) -> Data | ReferenceStats:
    """The reference that the options choose. Raises ValueError for the training set of a run where that is missing."""
    if not isinstance(options.reference, TrainingData):
        return options.reference
    if isinstance(training_data, str):
        raise ValueError(training_data)
    return training_data


def evaluate_files(path: Path, rest: Sequence[str]) -> int:
    """Evaluate the images of a folder, a .zip or an .npz."""
    default = EvaluateFiles(
        EvalOptions(Cifar10(), out=path.with_name(f"{path.name}.scores.json")), Folder(str(path), split="all")
    )
    command = parse(default, rest, f"limpid evaluate {path}")
    options, runtime = command.options, command.runtime.resolve().setup()
    check_sample_size(options.n)
    check_writable(options.out)
    distributed.init(runtime.device)
    source = reference_of(options, f"{path} is no run: name what to compare it with by --reference")
    images = load_all_images(command.images)
    print_images(images)
    check_sample_size(len(images))
    if len(images) < options.n:
        if gives_option(rest, "--n", default):
            raise ValueError(f"{path} holds {len(images):,} images, fewer than --n {options.n:,}")
        options = replace(options, n=len(images))
        echo(
            f"{path} holds {len(images):,} images, so n is {len(images)}; only scores of equal n can be compared",
            to_stderr=True,
        )
    subset = from_images(images.subset(options.n), str(path))
    real = reference_set(source, shared_extractor(options.features, options.inception, runtime.device), options.n)
    print_images(real.reference.images)
    with progress_bar(subset.n, "images") as on_progress:
        report, extracted = evaluate_images(subset, real, runtime, on_progress)
    if distributed.is_main_process():
        print_and_save(report, extracted, options)
    return 0


def print_images(images: ImageDataset | None) -> None:
    """Print to stderr how a set of images was read."""
    if images is not None and distributed.is_main_process():
        echo(images.description, to_stderr=True)


def print_and_save(
    report: EvalReport, extracted: ExtractedImages, options: EvalOptions, figures: Sequence[Path] = ()
) -> None:
    """Print the report, add it to its file, write the statistics of the features if the option is set, and list the
    files."""
    echo(report, end="\n\n")
    files = [add_report(report, options.out), *figures]
    if options.save_stats:
        statistics = Moments.of(extracted.features.features).statistics
        files.append(stats_file.save_stats(options.save_stats, statistics))
    for file in files:
        echo(file)
