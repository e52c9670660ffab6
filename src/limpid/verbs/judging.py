"""Judging: `limpid evaluate`, `limpid compare`, `limpid likelihood`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from limpid import scores
from limpid.asked import Known, Questions, asked, check
from limpid.data import Cifar10, Folder
from limpid.density import Protocol, density
from limpid.evaluate import Looked, Real, enough, evaluate
from limpid.learning import parallel
from limpid.learning.machine import Machine
from limpid.metrics import saved
from limpid.metrics.moments import Moments
from limpid.options import INLINE, parse
from limpid.provenance import data_of_run
from limpid.recipe import DataPlace, Sampling
from limpid.sample import Trained, comes, find_checkpoint, folder_of, instead_of, load_checkpoint
from limpid.scores import Report
from limpid.subjects import Own, Subject, images_of, of_images, of_run
from limpid.terminal import echo
from limpid.verbs.against import Judged, data_or_why, known_for, real_for, with_data
from limpid.verbs.names import guides_for, named
from limpid.verbs.sweeping import combinations_of, picture, table, words_of


@dataclass(frozen=True)
class EvaluateRun:
    """Score the pictures that a run draws against real ones."""

    judged: Annotated[Judged, INLINE]
    sampling: Annotated[Sampling, INLINE]
    machine: Annotated[Machine, INLINE] = Machine()
    seed: int = 0
    """Seed of the first picture; each has its own, the next the next."""
    weights: Literal["average", "model"] = "average"
    """The average of the weights along training, or the last of them."""
    batch: int = 250
    """Pictures drawn at a time."""
    questions: Annotated[Questions, INLINE] = Questions()
    data: DataPlace = DataPlace()
    sweep: tuple[str, ...] = ()
    """Options and the values they are to take in turn, as in: steps=10,20,50 guidance=0,0.5,1."""


@dataclass(frozen=True)
class EvaluateFiles:
    """Score the pictures of a folder, a zip or an .npz against real ones."""

    judged: Annotated[Judged, INLINE]
    pictures: Folder
    machine: Annotated[Machine, INLINE] = Machine()


def assess(arguments: Sequence[str]) -> int:
    """`limpid evaluate RUN|PICTURES [options]`."""
    name, rest = named("evaluate", "RUN, or a folder, .zip or .npz of pictures", arguments)
    path = Path(name)
    if not path.exists() and not comes(path):
        expected = "expected a run, or a folder, .zip or .npz of pictures"
        raise ValueError(f"there is no {name}: {expected}; {instead_of(path)}")
    is_run = (
        comes(path)
        or path.suffix == ".safetensors"
        or (path / "checkpoints").is_dir()
        or (path / "recipe.json").exists()
    )
    return assess_run(path, rest) if is_run else assess_files(path, rest)


def assess_run(path: Path, rest: Sequence[str]) -> int:
    """Score a run, once or in a sweep."""
    ref, folder = find_checkpoint(path), folder_of(path)
    default = EvaluateRun(Judged(out=folder / "scores.json"), ref.about.recipe.sampling)
    options = parse(default, rest, f"limpid evaluate {path}")
    scores.check_place(options.judged.out)
    machine, ways = options.machine.resolved().configure_process(), combinations_of(options.sweep)
    each = [parse(replace(options, sweep=()), words_of(way), f"limpid evaluate {path} --sweep") for way in ways]
    check_sweep(options, each)
    parallel.join(machine.device)
    ref, samplings = parallel.told(lambda: (ref, [one.sampling for one in (options, *each)]))
    options, *each = (replace(one, sampling=way) for one, way in zip((options, *each), samplings, strict=True))
    guides, data = guides_for(samplings, machine), data_or_why(ref.about, options.data.root, path)
    networks = {
        weights: with_data(load_checkpoint(ref, machine, one.weights), data)
        for weights, one in {one.weights: one for one in (options, *each)}.items()
    }
    trained = networks[options.weights]
    real = real_for(options.judged, data, machine)
    for one in each or [options]:
        enough(one.judged.n, real.reference)
    if not ways:
        known = known_for(options.judged, data, real)
        check(options.questions, trained, known if isinstance(known, Known) else None, options.judged.n, machine)
        report, looked = assessed(trained, guides[0], path, folder, options, real, machine)
        if parallel.first():
            told_more(report, looked, trained, options, known, machine)
        return 0
    swept: list[tuple[dict[str, str], Report]] = []
    for way, one, guide in zip(ways, each, guides[1:], strict=True):
        report, _ = assessed(networks[one.weights], guide, path, folder, one, real, machine)
        if parallel.first():
            scores.add(report, options.judged.out)
        swept.append((way, report))
    if not parallel.first():
        return 0
    echo(table(swept, real.judge.score), end="\n\n")
    for file in (options.judged.out, picture(swept, real.judge.score, options.judged.out.parent / "sweep.png")):
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
            batch=one.batch,
            judged=replace(options.judged, n=one.judged.n),
        )
        if replace(one, sweep=options.sweep) != drawing:
            raise ValueError("--sweep varies how pictures are drawn, and n: give other options beside it, once for all")
    more = options.questions.bits or options.questions.teach or options.judged.statistics
    if each and more:
        raise ValueError("--sweep keeps scores alone: leave out --bits, --teach and --statistics")


def assessed(
    trained: Trained,
    guide: Trained | None,
    path: Path,
    folder: Path,
    options: EvaluateRun,
    real: Real,
    machine: Machine,
) -> tuple[Report, Looked]:
    """The report of one way to draw."""
    seeds = range(options.seed, options.seed + options.judged.n)
    how = (options.sampling, options.weights, seeds, machine, options.batch)
    subject = of_run(trained, str(path), folder, *how, guide=guide)
    with counted(subject) as told:
        return evaluate(subject, real, machine, told)


def told_more(
    report: Report,
    looked: Looked,
    trained: Trained,
    options: EvaluateRun,
    known: Known | str,
    machine: Machine,
) -> None:
    """Add what only a run can be asked, or why it is not, keep the report, and print it."""
    own = known if isinstance(known, Known) else None
    more, written = asked(looked, trained, own, options.questions, options.judged.out.parent, machine)
    answered = replace(report, scores=report.scores | more, notes=report.notes + unasked(known))
    conclude(answered, looked, options.judged, written)


def unasked(known: Known | str) -> tuple[str, ...]:
    """What a run is not asked, and why."""
    if isinstance(known, str):
        return (f"not asked for copies, nor for what it knows by heart: {known}",)
    if known.lacking:
        return (f"copies are shown, not counted; not asked what it knows by heart: {known.lacking}",)
    return ()


def conclude(report: Report, looked: Looked, judged: Judged, written: Sequence[Path] = ()) -> None:
    """Print the report and keep it, and its statistics if they are asked for."""
    echo(scores.table(report), end="\n\n")
    files = [scores.add(report, judged.out), *written]
    if judged.statistics:
        files.append(saved.write(judged.statistics, Moments.of(looked.seen.features).statistics))
    for file in files:
        echo(file)


def assess_files(path: Path, rest: Sequence[str]) -> int:
    """Score pictures that are there already."""
    judged = Judged(Cifar10(), out=path.with_name(f"{path.name}.scores.json"))
    default = EvaluateFiles(judged, Folder(str(path), split="all"))
    options = parse(default, rest, f"limpid evaluate {path}")
    scores.check_place(options.judged.out)
    judged, machine = options.judged, options.machine.resolved().configure_process()
    parallel.join(machine.device)
    if isinstance(judged.against, Own):
        raise ValueError(f"{path} is no run: name what to compare it with by --against")
    images = images_of(options.pictures)
    if len(images) < judged.n:
        raise ValueError(
            f"{path} holds {len(images):,} pictures, --n asks for {judged.n:,}: scores of fewer would not compare"
        )
    subject = of_images(images.some(judged.n), str(path))
    real = real_for(judged, Cifar10(), machine)
    with counted(subject) as told:
        report, looked = evaluate(subject, real, machine, told)
    if parallel.first():
        conclude(report, looked, judged)
    return 0


@contextmanager
def counted(subject: Subject) -> Iterator[Callable[[int], None]]:
    """A bar for the pictures of a subject, or a line now and then where there is no terminal."""
    console = Console(stderr=True, highlight=False)
    with Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal or not parallel.first(),
    ) as bar:
        task, told = bar.add_task("pictures", total=subject.n), 0

        def tell(done: int) -> None:
            nonlocal told
            bar.update(task, completed=done)
            if not console.is_terminal and parallel.first() and 10 * done // subject.n > 10 * told // subject.n:
                told = done
                console.print(f"{done:,} of {subject.n:,} pictures")

        yield tell


@dataclass(frozen=True)
class Compare:
    """Put the scores of two runs side by side, and say which differences are larger than their noise."""


def compare(arguments: Sequence[str]) -> int:
    """`limpid compare A B`."""
    first, rest = named("compare", "RUN A and a RUN B, each a run folder, a checkpoint or a file of scores", arguments)
    second, rest = named(f"compare {first}", "RUN B to compare it with", rest)
    parse(Compare(), rest, f"limpid compare {first} {second}")
    echo(scores.compare(reports_of(Path(first)), reports_of(Path(second))))
    return 0


def reports_of(path: Path) -> list[Report]:
    """The reports on a run, or on one of its checkpoints alone, or those of a file. Raises ValueError for none."""
    single = path.suffix == ".safetensors"
    file = folder_of(path) / "scores.json" if single or comes(path) else path
    found = [] if single and not file.exists() else scores.read(file)
    own = [report for report in found if report.subject == str(path)]
    if single and not own:
        raise ValueError(f"no scores of {path}: limpid evaluate {path} writes them")
    return own or found


@dataclass(frozen=True)
class Likelihood:
    """Measure how likely a run finds real pictures, in bits per dimension."""

    protocol: Annotated[Protocol, INLINE] = Protocol()
    machine: Annotated[Machine, INLINE] = Machine()
    weights: Literal["average", "model"] = "average"
    """The average of the weights along training, or the last of them."""
    data: DataPlace = DataPlace()


def likelihood(arguments: Sequence[str]) -> int:
    """`limpid likelihood RUN [options]`."""
    name, rest = named("likelihood", "RUN", arguments)
    options = parse(Likelihood(), rest, f"limpid likelihood {name}")
    machine = options.machine.resolved().configure_process()
    ref = find_checkpoint(name)
    trained = load_checkpoint(ref, machine, options.weights).on(data_of_run(ref.about, options.data.root, name))
    echo(f"{density(trained, options.protocol, machine)}; {options.weights} weights after {trained.seen:,} images")
    return 0
