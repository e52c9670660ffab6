"""Reports are saved completely, replaced by reports of the same protocol, and compared only with those."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Heun
from limpid.diffusion.schedules import VpSde
from limpid.evaluation.compare import compare
from limpid.evaluation.report import EvalProtocol, EvalReport, Score, report_table
from limpid.evaluation.report_file import add_report, load_reports
from limpid.recipes.recipe import Sampling
from limpid.recipes.serialize import to_dict

PROTOCOL = EvalProtocol(1000, "a judge", "ab" * 32, "none", "Cifar10 train", 50_000, "cd" * 32)


def report(
    subject: str = "runs/a", value: float = 10.0, error: float = 0.5, **provenance_changes: object
) -> EvalReport:
    found = {"FD": Score(value, error, 19.0, "less", 0.1), "recall": Score(0.6, 0.01, better="more")}
    return EvalReport(subject, PROTOCOL, {"steps": 10} | provenance_changes, found)


def test_a_file_gives_back_what_was_added(tmp_path: Path):
    path = tmp_path / "scores.json"
    add_report(report(), path)
    add_report(report(steps=20), path)
    assert load_reports(path) == load_reports(tmp_path) == [report(), report(steps=20)]


def test_a_report_of_the_same_images_under_the_same_protocol_takes_the_old_ones_place(tmp_path: Path):
    path = tmp_path / "scores.json"
    for one in (report(value=1.0), report(steps=20), report(value=2.0)):
        add_report(one, path)
    assert load_reports(path) == [report(steps=20), report(value=2.0)]


def test_none_of_the_reports_that_are_added_in_one_moment_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, read = tmp_path / "scores.json", load_reports

    def slowly(path: Path) -> list[EvalReport]:
        found = read(path)
        time.sleep(0.05)
        return found

    add_report(report(steps=0), path)
    monkeypatch.setattr("limpid.evaluation.report_file.load_reports", slowly)
    with ThreadPoolExecutor() as together:
        list(together.map(lambda steps: add_report(report(steps=steps), path), range(1, 5)))
    assert sorted(one.provenance["steps"] for one in read(path)) == [0, 1, 2, 3, 4]


def spoilt(plain: Any) -> Iterator[Any]:
    """Plain data with one of its values, in turn, of every other kind."""
    yield from (None, 1, "x", [], {}, -1.5, True, 10**400, [None], {"a": None})
    if isinstance(plain, dict | list):
        for key, part in plain.items() if isinstance(plain, dict) else enumerate(plain):
            for other in spoilt(part):
                copy = plain.copy()
                copy[key] = other
                yield copy


def test_a_damaged_file_of_scores_is_one_clear_line_that_names_it(tmp_path: Path):
    path, message = tmp_path / "scores.json", []
    add_report(replace(report(), notes=("a note",)), path)
    texts = [json.dumps(plain) for plain in spoilt(json.loads(path.read_text()))]
    for text in (*texts, "[" * 9999, "", "\0" * 9):
        path.write_text(text)
        try:
            found = load_reports(path)
        except ValueError as error:
            message.append(str(error))
        else:
            assert str(compare(found, found))
            assert all(map(report_table, found))
    assert len(message) > len(texts) / 2
    assert all(line.startswith(f"{path} is no file of scores") and "\n" not in line for line in message)


def test_the_notes_of_a_report_are_saved_with_it_and_shown_under_its_table(tmp_path: Path):
    path, why = tmp_path / "scores.json", "no scores of held-out real images: Digits has no held-out split"
    lacking = replace(report(), notes=(why,))
    add_report(lacking, path)
    assert load_reports(path) == [lacking]
    assert report_table(lacking).endswith(f"\n\n{why}")


def test_reports_from_before_there_were_notes_are_read(tmp_path: Path):
    path = tmp_path / "scores.json"
    add_report(report(), path)
    plain = json.loads(path.read_text())
    del plain["reports"][0]["notes"]
    path.write_text(json.dumps(plain))
    assert load_reports(path) == [report()]


def test_a_report_of_version_0_1_says_how_its_images_were_sampled_in_the_words_of_this_one(tmp_path: Path):
    path = tmp_path / "scores.json"
    guided = Sampling(sampler=Heun(), schedule=VpSde(), clip_denoised=False, guidance=Guidance(3.0))
    now = report(guidance=3.0, sampling=to_dict(guided), NFE=20.0)
    now = replace(now, scores=now.scores | {"classification accuracy score": Score(0.5, 0.01, better="more")})
    add_report(now, path)
    plain = json.loads(path.read_text())
    provenance = plain["reports"][0].pop("provenance")
    provenance["evaluations"] = provenance.pop("NFE")
    scores = plain["reports"][0]["scores"]
    scores["accuracy after training on them"] = scores.pop("classification accuracy score")
    sampling = provenance["sampling"]
    sampling |= {"clip": sampling.pop("clip_denoised"), "guide": sampling.pop("guidance_model")}
    sampling["levels"] = sampling.pop("schedule") | {"kind": "ContinuousBeta"}
    sampling["guidance"] = {"kind": "Guidance", "weight": 2.0, "low": 0.0, "high": "inf", "rescale": 0.0}
    plain["reports"][0]["drawn"] = provenance | {"guidance": 2.0}
    path.write_text(json.dumps(plain))
    assert load_reports(path) == [now]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"reports": [{}]}', '{"reports": 3}', "\xff"])
def test_a_file_without_reports_is_refused_by_name(tmp_path: Path, text: str):
    (tmp_path / "scores.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"scores\.json is no file of scores"):
        load_reports(tmp_path)


def test_where_there_are_no_scores_the_command_that_makes_them_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match="limpid evaluate"):
        load_reports(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 5000}, "n 1000 and 5000"),
        ({"feature_extractor": "another"}, "feature extractor a judge and another"),
        ({"extractor_sha256": "ef" * 32}, "extractor sha256 abababababab and efefefefefef"),
        ({"resize": "to 32x32"}, "resize none and to 32x32"),
        ({"reference": "Cifar10 test"}, "reference Cifar10 train and Cifar10 test"),
        ({"reference_n": 10}, "reference n 50000 and 10"),
        ({"reference_sha256": "ef" * 32}, "reference sha256 cdcdcdcdcdcd and efefefefefef"),
    ],
)
def test_unlike_protocols_do_not_compare(change: dict[str, object], message: str):
    other = replace(report("runs/b"), protocol=replace(PROTOCOL, **change))
    with pytest.raises(ValueError, match=f"runs/a and runs/b have different protocols .*{message}"):
        compare([report()], [other])


def test_a_comparison_takes_the_newest_pair_that_is_alike():
    unlike = replace(report("runs/b", 1.0), protocol=replace(PROTOCOL, n=5))
    message = str(compare([report(value=1.0), report(value=20.0)], [report("runs/b", 30.0), unlike]))
    assert "20.00      30.00     -10.00" in message


def test_a_comparison_prefers_equal_sampling_settings_and_names_those_that_differ():
    first, second = [report(value=1.0), report(value=5.0, steps=20)], report("runs/b", 30.0)
    message = str(compare(first, [second]))
    assert "1.000      30.00     -29.00" in message
    assert "different" not in message
    assert "sampled with different steps" in str(compare(first[1:], [second]))


def test_a_file_that_holds_no_scores_is_refused_in_a_short_line(tmp_path: Path):
    (tmp_path / "weights.safetensors").write_bytes(bytes(range(256)) * 10_000)
    with pytest.raises(ValueError, match="no file of scores") as refused:
        load_reports(tmp_path / "weights.safetensors")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [(10.0, 10.5, "within the noise"), (10.0, 20.0, "A is better"), (20.0, 10.0, "B is better")],
)
def test_a_difference_is_called_noise_or_not(a: float, b: float, verdict: str):
    line = next(line for line in str(compare([report(value=a)], [report("runs/b", b)])).splitlines() if "FD" in line)
    assert line.endswith(verdict)


def test_more_may_be_better():
    higher = replace(report("runs/b"), scores={"recall": Score(0.9, 0.01, better="more")})
    assert "B is better" in str(compare([report()], [higher]))


def test_a_table_holds_every_score_its_interval_and_what_real_images_score():
    message = report_table(report())
    assert "runs/a: steps 10" in message
    assert "1,000 images against 50,000: Cifar10 train, cdcdcdcdcdcd" in message
    line = next(line for line in message.splitlines() if "FD" in line)
    assert " ".join(line.split()) == "FD 10.00 8.953 .. 11.05 0.1000 less is better"
