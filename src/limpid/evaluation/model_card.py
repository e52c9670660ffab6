"""The model card of a published model: README.md in Markdown, with what the Hub reads in YAML at its head."""

import json
import shlex
from collections.abc import Iterator

from limpid.data.description import CHANNEL_NAMES, COPIES_EXPECTED
from limpid.evaluation.card_facts import CardFacts, data_facts, num_training_images, recipe_name, stated_cost
from limpid.evaluation.card_metadata import card_metadata, protocol_sentence
from limpid.evaluation.report import format_number
from limpid.interop.front_matter import front_matter
from limpid.recipes.recipe import PREVIEW_STEPS, Sampling
from limpid.sampling.figures import complete_grid, omissions
from limpid.viz.class_sheets import SHEET_CLASSES

MAX_LISTED_CLASSES = 20
UNITS_OF_TIME = {"hours": 3600, "minutes": 60, "seconds": 1}


def model_card(facts: CardFacts) -> str:
    """The text of README.md."""
    parts = [_samples, _use, _training, _scores, _limits]
    sections = ["\n".join(part(facts)) for part in parts]
    return "\n\n".join([front_matter(card_metadata(facts)) + f"\n\n# {facts.name}", *filter(None, sections)]) + "\n"


def _samples(facts: CardFacts) -> Iterator[str]:
    """The samples, and what the model is."""
    recipe, about, samples = facts.recipe, facts.about, facts.samples
    channels, height, width = about.image_shape
    classes = len(dict.fromkeys(samples.labels or ()))
    rows = f", a row for each of {classes} classes" if classes > 1 else ""
    yield "![samples](samples.png)\n"
    yield f"{len(samples)} samples that were not selected, from the seeds 0, 1, 2, ...{rows}, by {_sampler(facts)}."
    if missing := omissions(samples):
        yield f"{missing} of a complete grid were left out: they would have taken too long where it was exported."
    yield ""
    kind = "class-conditional" if recipe.class_conditional else "unconditional"
    size = f"{height}x{width} {CHANNEL_NAMES.get(channels, f'{channels}-channel')}"
    training = "fine-tuned from the weights of another model" if facts.fine_tuned else "trained from random weights"
    seen = f" on {about.images_seen:,} images" if about.images_seen else ""
    article = "An" if kind[0] == "u" else "A"
    yield f"{article} {kind} diffusion model of {size} images with {_count(facts.parameters)} parameters,"
    yield f"{training}{seen} by the Python package limpid. Data: {data_facts(recipe.data).title}."


def _sampler(facts: CardFacts) -> str:
    """How the samples on the card were generated, in words."""
    sampling, previewed = facts.recipe.sampling, facts.recipe.sampling.steps > PREVIEW_STEPS
    text = f"{PREVIEW_STEPS} steps of Ddim" if previewed else f"{sampling.steps} steps of {_kind(sampling.sampler)}"
    text += f" with guidance scale {sampling.guidance.scale:g}" if sampling.guidance.enabled else ""
    less = f"; `limpid sample` takes {sampling.steps} of {_kind(sampling.sampler)} by default" if previewed else ""
    return text + less


def _use(facts: CardFacts) -> Iterator[str]:
    """What to type."""
    names, recipe = facts.about.class_names if facts.recipe.class_conditional else (), facts.recipe
    n, preview = complete_grid(facts.samples), _preview_options(recipe.sampling)
    name = f"hf:{facts.repo}"
    yield "## Use\n"
    yield "```bash"
    if len(facts.samples) == n and len(names) <= SHEET_CLASSES:
        yield f"limpid sample {name} --num-samples {n}{preview}  # the samples above"
    else:
        yield f"limpid sample {name}"
    if names:
        yield f"limpid sample {name} --num-samples 16 --seed 100 --labels {shlex.quote(names[-1])}"
    yield "```\n"
    yield "```python"
    yield "import limpid"
    yield f'pipeline = limpid.load("{name}")'
    label = f", labels={json.dumps(names[-1], ensure_ascii=False)}" if names else ""
    yield f'pipeline.sample(16, seed=100{label}).save("samples")'
    yield "```\n"
    yield "The same seed, class and settings give the same image. The file `limpid.safetensors` holds the weights in"
    yield "float16, the recipe and a checksum, and no code."
    if names:
        more = ", ..." if len(names) > MAX_LISTED_CLASSES else ""
        yield f"\nClasses: {', '.join(map(_code, names[:MAX_LISTED_CLASSES]))}{more}."
    if facts.diffusers_call:
        yield "\nWithout limpid, by diffusers (the same samples):\n"
        yield "```python"
        yield "import diffusers, torch"
        yield facts.diffusers_call
        yield "```"
    yield f"\nFor a browser or onnxruntime: `limpid export onnx {name}`."


def _preview_options(sampling: Sampling) -> str:
    return f" --steps {PREVIEW_STEPS} --sampler Ddim" if sampling.steps > PREVIEW_STEPS else ""


def _training(facts: CardFacts) -> Iterator[str]:
    """The recipe, how many images were seen, and what that cost."""
    recipe, about = facts.recipe, facts.about
    yield "## Training\n"
    yield "| | |"
    yield "|---|---|"
    named, images = recipe_name(recipe), num_training_images(about)
    yield _row("recipe", _code(named) if named else "its own, in `recipe.json`")
    if about.images_seen:
        epochs = f", {_short(about.images_seen / images)} epochs of {images:,} images" if images else ""
        planned = f" of the {recipe.duration:,} planned" if about.images_seen < recipe.duration else ""
        yield _row("images seen", f"{about.images_seen:,}{planned}, in batches of {recipe.batch_size}{epochs}")
    yield _row("cost", _cost(facts))
    values = {
        "network": recipe.network,
        "prediction target": recipe.target,
        "noise levels": recipe.schedule,
        "loss": recipe.loss,
        "weighting": recipe.loss_weighting,
        "optimizer": recipe.optimizer,
        "EMA": recipe.ema,
        "augmentation": recipe.augment,
    }
    for name, value in values.items():
        yield _row(name, _code(value))
    if recipe.class_conditional:
        yield _row("labels dropped", f"{recipe.label_dropout:.0%}, for classifier-free guidance")
    yield _row("sampling", _code(recipe.sampling.sampler) + f", {recipe.sampling.steps} steps")
    root = " --data.root FOLDER" if hasattr(recipe.data, "root") and not data_facts(recipe.data).hub_name else ""
    command = f"limpid train recipe.json{root} --run runs/{facts.name}"
    yield f"\n`recipe.json` holds every setting; to train it again: `{command}`."


def _cost(facts: CardFacts) -> str:
    """Time and machine of the training."""
    seconds, environment = facts.cost.seconds, facts.cost.environment or {}
    unit, length = next(found for found in UNITS_OF_TIME.items() if seconds >= found[1] or found[1] == 1)
    duration = f"{_short(seconds / length)} {unit}"
    processes = environment.get("processes", 1)
    machine = [environment.get("processor"), environment.get("machine"), processes != 1 and f"{processes} processes"]
    packages = environment.get("packages")
    versions = packages if isinstance(packages, dict) else {}
    machine += [f"{name} {versions[name]}" for name in ("limpid", "torch") if name in versions]
    if not seconds:
        duration = f"not recorded{stated_cost(recipe_name(facts.recipe))}"
    return ", ".join([duration, *(str(word) for word in machine if word)])


def _scores(facts: CardFacts) -> Iterator[str]:
    """A table for each evaluation, under its protocol."""
    if not facts.reports:
        return
    yield "## Scores"
    for report in facts.reports:
        yield f"\n{_text(protocol_sentence(report))}.\n"
        yield "| score | value | 95% interval | held-out real images | |"
        yield "|---|---|---|---|---|"
        for name, score in report.scores.items():
            low, high = score.estimate.interval
            interval = f"{format_number(low)} to {format_number(high)}" if score.error else ""
            held_out = "" if score.held_out is None else format_number(score.held_out)
            better = f"{score.better} is better" if score.better else ""
            yield f"| {_cell(name)} | {format_number(score.value)} | {interval} | {held_out} | {better} |"
    weights = "the weights before they were rounded to float16" if facts.rounded else "these weights"
    yield f"\nMeasured by `limpid evaluate` on {weights}. Scores compare only"
    yield "under the same protocol."


def _limits(facts: CardFacts) -> Iterator[str]:
    """What the model cannot do, and the licence."""
    recipe, about, data = facts.recipe, facts.about, data_facts(facts.recipe.data)
    _, height, width = about.image_shape
    yield "## Limits and licence\n"
    yield f"- It generates images of {height}x{width} pixels and no other size."
    if recipe.class_conditional:
        yield "- It knows the classes above and nothing else: it takes no text."
    else:
        yield "- It takes neither a class nor text: what is on an image is left to the seed."
    yield "- The optimizer's state is not in it: the run cannot be resumed, but `limpid train --init` fine-tunes it."
    images = num_training_images(about)
    if 0 < images < COPIES_EXPECTED:
        yield f"- With {images:,} training images, expect samples that are copies of them."
    if 0 < about.images_seen < recipe.duration:
        yield f"- Training ended after {about.images_seen / recipe.duration:.0%} of the images that its recipe plans."
    yield "- What is frequent, rare or wrong in the training images is so in the samples."
    if not facts.reports:
        yield "- No scores of these weights are recorded."
    yield f"\n{data.licence_text}"
    yield f"The model: {facts.licence or f'{data.licence} (no licence was chosen for it)'}."


def _row(name: str, value: str) -> str:
    return f"| {name} | {_cell(value)} |"


def _cell(text: str) -> str:
    """Text in a table, where | ends a cell."""
    return _text(text).replace("|", "\\|")


def _text(text: str) -> str:
    """Text in Markdown, where < begins a tag."""
    return text.replace("<", "&lt;")


def _code(value: object) -> str:
    """A value as code, in which a backtick would end it."""
    return f"`{str(value).replace('`', chr(39))}`"


def _kind(value: object) -> str:
    return type(value).__name__


def _count(parameters: int) -> str:
    """A number of parameters, as in 35.7M."""
    return f"{parameters / 1e6:.1f}M" if parameters >= 1e6 else f"{parameters:,}"


def _short(number: float) -> str:
    """A number with one decimal; below 1, with two digits that are not 0."""
    return f"{number:,.1f}" if number >= 1 else f"{number:.2g}"
