"""What the Hub reads of a model card, the YAML at its head: licence, library, task, data set, and scores."""

import re
from typing import Any

from limpid.evaluation.card_facts import CardFacts, data_facts
from limpid.evaluation.report import EvalReport, Score

TASK = "unconditional-image-generation"
"""What the Hub calls models that take no text."""


def card_metadata(facts: CardFacts) -> dict[str, Any]:
    """What the Hub reads: licence, library, task, tags, data set, and the scores with their protocols."""
    data = data_facts(facts.recipe.data)
    kind = "class-conditional" if facts.recipe.class_conditional else "unconditional"
    tags = ["limpid", "diffusion", "image-generation", kind, *(["diffusers"] if facts.diffusers_call else [])]
    results = [_result(report) for report in facts.reports]
    return {
        "license": facts.licence or data.licence,
        "library_name": "limpid",
        "pipeline_tag": TASK,
        "tags": tags,
        **({"datasets": [data.hub_name]} if data.hub_name else {}),
        **({"model-index": [{"name": facts.name, "results": results}]} if results else {}),
    }


def _result(report: EvalReport) -> dict[str, Any]:
    reference = reference_name(report)
    protocol = protocol_sentence(report)
    return {
        "task": {"type": TASK, "name": "Image generation"},
        "dataset": {"type": _slug(reference), "name": reference},
        "metrics": [_metric(name, score, protocol, report) for name, score in report.scores.items()],
    }


def _metric(name: str, score: Score, protocol: str, report: EvalReport) -> dict[str, Any]:
    low, high = score.estimate.interval
    interval = {"low": _number(low), "high": _number(high)} if score.error else {}
    details = {"n": report.protocol.n, **interval, "protocol": protocol}
    return {"type": _slug(name), "name": name, "value": _number(score.value), "args": details}


def _number(value: float) -> float | str:
    """A number for YAML; text if it is not finite."""
    rounded = float(f"{value:.6g}")
    return rounded if abs(rounded) < float("inf") else str(rounded)


def protocol_sentence(report: EvalReport) -> str:
    """The protocol of an evaluation and how the samples were generated, in a sentence."""
    protocol, settings = report.protocol, report.provenance
    names = ("sampler", "steps", "guidance", "NFE", "seeds", "classes", "precision")
    how = ", ".join(f"{name} {settings[name]}" for name in names if name in settings)
    reference = f"{protocol.reference_n:,} images of {reference_name(report)}"
    features = f"features of {protocol.feature_extractor}, images {protocol.resize}"
    return f"{protocol.n:,} samples ({how}) against {reference}; {features}"


def reference_name(report: EvalReport) -> str:
    """The name of the images that were compared with; of a path, only its end."""
    return report.protocol.reference.replace("\\", "/").rpartition("/")[2]


def _slug(text: str) -> str:
    """Text as an identifier of the Hub."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "other"
