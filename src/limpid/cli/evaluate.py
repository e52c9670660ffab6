"""Judging: `limpid evaluate`, `limpid compare`, `limpid likelihood`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from limpid.cli.parser import FLATTEN, gives_option, parse, positional
from limpid.cli.progress import progress_bar
from limpid.cli.sweep import parse_sweep, sweep_plot, sweep_table, to_arguments
from limpid.data import Cifar10, Folder
from limpid.evaluation.baselines import EvalOptions, data_or_why, reference_set, train_test_pair, with_data
from limpid.evaluation.evaluate import ExtractedImages, ReferenceSet, check_sample_size, evaluate
from limpid.evaluation.generated import from_images, generated_by
from limpid.evaluation.model_metrics import ModelMetrics, TrainTestPair, check, model_metrics
from limpid.evaluation.reference import TrainingData, load_all_images
from limpid.evaluation.report import EvalReport, add_report, check_place
from limpid.evaluation.tables import report_table
from limpid.metrics import stats_file
from limpid.metrics.moments import Moments
from limpid.recipes.recipe import DataPlace, Sampling
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_checkpoint, is_pretrained, load_guides, output_folder, pretrained_hint
from limpid.sampling.pipeline import Pipeline, load_checkpoint


@dataclass(frozen=True)
class EvaluateRun:
    """Score the pictures that a run draws against real ones."""

    judged: Annotated[EvalOptions, FLATTEN]
    sampling: Annotated[Sampling, FLATTEN]
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
    seed: int = 0
    """Seed of the first picture; each has its own, the next the next."""
    weights: Literal["ema", "raw"] = "ema"
    """The average of the weights along training, or the last of them."""
    batch_size: int = 250
    """Pictures drawn at a time."""
    questions: Annotated[ModelMetrics, FLATTEN] = ModelMetrics()
    data: DataPlace = DataPlace()
    sweep: tuple[str, ...] = ()
    """Options and the values they are to take in turn, as in: steps=10,20,50 guidance=1,1.5,2."""


@dataclass(frozen=True)
class EvaluateFiles:
    """Score the pictures of a folder, a zip or an .npz against real ones."""

    judged: Annotated[EvalOptions, FLATTEN]
    pictures: Folder
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
    """`limpid evaluate RUN|PICTURES [options]`."""
    name, rest = positional("evaluate", "RUN, or a folder, .zip or .npz of pictures", arguments)
    path = Path(name)
    if not path.exists() and not is_pretrained(path):
        expected = "expected a run, or a folder, .zip or .npz of pictures"
        raise ValueError(f"there is no {name}: {expected}; {pretrained_hint(path)}")
    is_run = (
        is_pretrained(path)
        or path.suffix == ".safetensors"
        or (path / "checkpoints").is_dir()
        or (path / "recipe.json").exists()
    )
    return evaluate_run(path, rest) if is_run else assess_files(path, rest)


def evaluate_run(path: Path, rest: Sequence[str]) -> int:
    """Score a run, once or in a sweep."""
    ref, folder = find_checkpoint(path), output_folder(path)
    default = EvaluateRun(EvalOptions(out=folder / "scores.json"), ref.about.recipe.sampling)
    options = parse(default, rest, f"limpid evaluate {path}")
    check_place(options.judged.out)
    runtime, ways = options.runtime.resolved().configure_process(), parse_sweep(options.sweep)
    each = [parse(replace(options, sweep=()), to_arguments(way), f"limpid evaluate {path} --sweep") for way in ways]
    check_sweep(options, each)
    distributed.init(runtime.device)
    ref, samplings = distributed.broadcast_object(lambda: (ref, [one.sampling for one in (options, *each)]))
    options, *each = (replace(one, sampling=way) for one, way in zip((options, *each), samplings, strict=True))
    guides, data = load_guides(samplings, runtime), data_or_why(ref.about, options.data.root, path)
    networks = {
        weights: with_data(load_checkpoint(ref, runtime, one.weights), data)
        for weights, one in {one.weights: one for one in (options, *each)}.items()
    }
    pipeline = networks[options.weights]
    real = reference_set(options.judged, data, runtime)
    for one in each or [options]:
        check_sample_size(one.judged.n, real.reference)
    if not ways:
        known = train_test_pair(options.judged, data, real)
        check(options.questions, pipeline, known if isinstance(known, TrainTestPair) else None, options.judged.n)
        report, looked = sweep_point(replace(pipeline, guide=guides[0]), path, folder, options, real)
        if distributed.is_main_process():
            finish_report(report, looked, pipeline, options, known)
        return 0
    swept: list[tuple[dict[str, str], EvalReport]] = []
    for way, one, guide in zip(ways, each, guides[1:], strict=True):
        report, _ = sweep_point(replace(networks[one.weights], guide=guide), path, folder, one, real)
        if distributed.is_main_process():
            add_report(report, options.judged.out)
        swept.append((way, report))
    if not distributed.is_main_process():
        return 0
    echo(sweep_table(swept, real.extractor.distance_name), end="\n\n")
    for file in (
        options.judged.out,
        sweep_plot(swept, real.extractor.distance_name, options.judged.out.parent / "sweep.png"),
    ):
        echo(file)
    return 0


def check_sweep(options: EvaluateRun, each: Sequence[EvaluateRun]) -> None:
    """Raise ValueError for a sweep over what is the same for all of it, or with questions that it does not ask."""
    for one in each:
        drawing = replace(
            options,
            sampling=one.sampling,
            seed=one.seed,
            weights=one.weights,
            batch_size=one.batch_size,
            judged=replace(options.judged, n=one.judged.n),
        )
        if replace(one, sweep=options.sweep) != drawing:
            raise ValueError("--sweep varies how pictures are drawn, and n: give other options beside it, once for all")
    more = options.questions.likelihood_images or options.questions.cas or options.judged.save_stats
    if each and more:
        raise ValueError("--sweep keeps scores alone: leave out --likelihood-images, --cas and --save-stats")


def sweep_point(
    pipeline: Pipeline,
    path: Path,
    folder: Path,
    options: EvaluateRun,
    real: ReferenceSet,
) -> tuple[EvalReport, ExtractedImages]:
    """The report of one way to draw."""
    seeds = range(options.seed, options.seed + options.judged.n)
    guide = pipeline.guide
    pipeline = replace(pipeline.with_sampling(options.sampling), guide=guide)
    subject = generated_by(pipeline, str(path), folder, options.weights, seeds, options.batch_size)
    with progress_bar(subject.n, "images") as told:
        return evaluate(subject, real, pipeline.runtime, told)


def finish_report(
    report: EvalReport,
    looked: ExtractedImages,
    pipeline: Pipeline,
    options: EvaluateRun,
    known: TrainTestPair | str,
) -> None:
    """Add what only a run can be asked, or why it is not, keep the report, and print it."""
    own = known if isinstance(known, TrainTestPair) else None
    more, written = model_metrics(looked, pipeline, own, options.questions, options.judged.out.parent)
    answered = replace(report, scores=report.scores | more, notes=report.notes + skipped_notes(known))
    print_and_save(answered, looked, options.judged, written)


def skipped_notes(known: TrainTestPair | str) -> tuple[str, ...]:
    """What a run is not asked, and why."""
    if isinstance(known, str):
        return (f"not asked for copies, nor for what it knows by heart: {known}",)
    if known.missing_reason:
        return (f"copies are shown, not counted; not asked what it knows by heart: {known.missing_reason}",)
    return ()


def print_and_save(
    report: EvalReport, looked: ExtractedImages, judged: EvalOptions, written: Sequence[Path] = ()
) -> None:
    """Print the report and keep it, and its statistics if they are asked for."""
    echo(report_table(report), end="\n\n")
    files = [add_report(report, judged.out), *written]
    if judged.save_stats:
        files.append(stats_file.save_stats(judged.save_stats, Moments.of(looked.features.features).statistics))
    for file in files:
        echo(file)


def assess_files(path: Path, rest: Sequence[str]) -> int:
    """Score pictures that are there already."""
    judged = EvalOptions(Cifar10(), out=path.with_name(f"{path.name}.scores.json"))
    default = EvaluateFiles(judged, Folder(str(path), split="all"))
    options = parse(default, rest, f"limpid evaluate {path}")
    check_place(options.judged.out)
    judged, runtime = options.judged, options.runtime.resolved().configure_process()
    distributed.init(runtime.device)
    if isinstance(judged.reference, TrainingData):
        raise ValueError(f"{path} is no run: name what to compare it with by --reference")
    images = load_all_images(options.pictures)
    if len(images) < judged.n:
        if gives_option(rest, "--n", default):
            raise ValueError(f"{path} holds {len(images):,} images, fewer than --n {judged.n:,}")
        judged = replace(judged, n=len(images))
        echo(f"{path} holds {len(images):,} images: --n {len(images)}; only scores of equal n compare", to_stderr=True)
    subject = from_images(images.subset(judged.n), str(path))
    real = reference_set(judged, Cifar10(), runtime)
    with progress_bar(subject.n, "images") as told:
        report, looked = evaluate(subject, real, runtime, told)
    if distributed.is_main_process():
        print_and_save(report, looked, judged)
    return 0
