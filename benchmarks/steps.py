"""Frechet distance against network evaluations (NFE), for every sampler.

    python benchmarks/steps.py cifar10-small [--n 1000] [--quick]

All samplers use the same seeds. The feature networks are the classifiers of outside_classifiers.py; the reference is
ancestral sampling in 1000 steps. Measurements are saved in the JSON file, and a command that was stopped continues from
them. For 1,000 images of `cifar10-small` about an hour on two cores, most of it for the 1000 steps.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from outside_classifiers import distances
from paired import about, arguments, parse_options, save
from torch import Tensor

from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers import Ancestral, Ddim, Deis, DpmSolverPP, DpmSolverPP2S, Heun, Lms, Sampler, UniPC
from limpid.diffusion.schedules import Karras, sampling_levels
from limpid.runtime.device import Runtime
from limpid.sampling.pipeline import Pipeline, load
from limpid.viz.plot import Curve, Panel, panels

SAMPLERS: dict[str, Sampler] = {
    "Ancestral": Ancestral(),
    "DDIM": Ddim(),
    "Heun": Heun(),
    "DPM-Solver++ 2": DpmSolverPP(2),
    "DPM-Solver++ 3": DpmSolverPP(3),
    "DPM-Solver++ 2S": DpmSolverPP2S(),
    "DPM-Solver++ 2 SDE": DpmSolverPP(2, sde=True),
    "DPM-Solver++ 3 SDE": DpmSolverPP(3, sde=True),
    "UniPC 2": UniPC(2),
    "UniPC 3": UniPC(3),
    "DEIS": Deis(),
    "LMS": Lms(),
}
STOCHASTIC_OR_SINGLE_STEP = ("Ancestral", "DDIM", "Heun", "DPM-Solver++ 2S", "DPM-Solver++ 2 SDE", "DPM-Solver++ 3 SDE")
EVALUATIONS = (6, 8, 10, 14, 20, 30, 50)
REFERENCE = ("Ancestral", 1000)


def main() -> None:
    """Measure what the JSON file does not hold yet, and plot all."""
    parser = arguments(__doc__ or "", "steps")
    parser.add_argument("run")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--evaluations", type=int, nargs="+", default=list(EVALUATIONS))
    options = parse_options(parser)
    runtime = Runtime(options.device).resolve().setup()
    pipeline = load(options.run, runtime=runtime)
    runs = [(name, n) for n in options.evaluations for name in SAMPLERS]
    if options.quick:
        runs, options.n = [("Heun", 5), ("Ancestral", 4)], 80
    else:
        runs = [REFERENCE, *runs]
    lines = score_samplers(pipeline, runs, options)
    print(draw(lines, options.out.with_name(f"{options.out.name}.png")))


def score_samplers(pipeline: Pipeline, runs: list[tuple[str, int]], options: Any) -> list[dict[str, Any]]:
    """The scores of each sampler at each number of evaluations; those that the JSON file holds already come first."""
    settings = {"run": options.run, "images_seen": pipeline.images_seen, "n": options.n}
    path = options.out.with_name(f"{options.out.name}.json")
    saved = json.loads(path.read_text()) if path.exists() else {}
    lines = saved["lines"] if {key: saved.get(key) for key in settings} == settings else []
    measured = {(line["sampler"], line["asked"]) for line in lines}
    for name, nfe in runs:
        steps = steps_for(SAMPLERS[name], nfe)
        if (name, nfe) in measured or not steps:
            continue
        scores = distances(sample_images(pipeline, SAMPLERS[name], steps, options))
        lines.append(
            {"sampler": name, "asked": nfe, "steps": steps, "evaluations": count_evaluations(SAMPLERS[name], steps)}
        )
        lines[-1] |= scores
        print(lines[-1], flush=True)
        save({"about": about(options.device)} | settings | {"lines": lines}, options.out)
    return lines


def sample_images(pipeline: Pipeline, sampler: Sampler, steps: int, options: Any) -> Tensor:
    """n images from seeds 0 to n - 1, by this sampler on the recipe's noise levels."""
    return pipeline.sample(options.n, sampler=sampler, steps=steps, batch_size=options.batch_size).pixels


def steps_for(sampler: Sampler, evaluations: int) -> int:
    """The largest number of steps that takes at most this many network evaluations; 0 if there is none."""
    return max(
        (steps for steps in range(1, evaluations + 1) if count_evaluations(sampler, steps) <= evaluations), default=0
    )


def count_evaluations(sampler: Sampler, steps: int) -> int:
    """The network evaluations of a sampler in this many steps."""
    evaluations = 0

    def denoise(x: Batch, level: Level) -> Batch:
        nonlocal evaluations
        evaluations += 1
        return torch.zeros_like(x)

    x = torch.zeros(1, 1, 1, 1)
    trajectory: Iterator[Any] = sampler(denoise, x, sampling_levels(Karras(), steps), lambda: x)
    for _ in trajectory:
        pass
    return evaluations


def draw(lines: list[dict[str, Any]], path: Path) -> Path:
    """Two plots for each feature network: stochastic and single-step samplers, and deterministic multistep samplers."""
    plots = []
    for extractor in (key for key in lines[0] if key.startswith("ResNet")):
        for names in (
            STOCHASTIC_OR_SINGLE_STEP,
            tuple(name for name in SAMPLERS if name not in STOCHASTIC_OR_SINGLE_STEP),
        ):
            if series := [*curves(lines, names, extractor), *reference(lines, extractor)]:
                plots.append(Panel(series, extractor, x="evaluations", y="Frechet distance", log_x=True, log_y=True))
    return panels(plots, path)


def curves(lines: list[dict[str, Any]], names: Sequence[str], extractor: str) -> list[Curve]:
    """Frechet distance against evaluations, for each of these samplers that was measured."""
    found = []
    for name in names:
        points = [line for line in lines if line["sampler"] == name and line["asked"] <= max(EVALUATIONS)]
        if points:
            found.append(Curve(name, [p["evaluations"] for p in points], [p[extractor] for p in points]))
    return found


def reference(lines: list[dict[str, Any]], extractor: str) -> list[Curve]:
    """The distance of the reference as a horizontal line, if it was measured."""
    ends = [min(EVALUATIONS), max(EVALUATIONS)]
    reached = [line[extractor] for line in lines if (line["sampler"], line["asked"]) == REFERENCE]
    return [Curve(f"{REFERENCE[0]}, {REFERENCE[1]}", ends, [value] * 2) for value in reached]


if __name__ == "__main__":
    main()
