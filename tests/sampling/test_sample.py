"""Sampling: labels are classes of the model, in the shares of its data; samples are finite."""

import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from tiny_recipes import CPU, TINY

from limpid.diffusion.denoiser import Denoiser
from limpid.diffusion.schedules import Karras, sampling_levels
from limpid.diffusion.targets import Eps, V
from limpid.recipes.recipe import build_denoiser
from limpid.sampling.figures import preview_trajectory
from limpid.sampling.labels import labels_by_share
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.sample import check_starts_solvable

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def model() -> Denoiser:
    return build_denoiser(TINY, SHAPE, 10).eval()


def pipeline(model: Denoiser) -> Pipeline:
    return Pipeline(model, TINY, SHAPE, tuple("0123456789"), runtime=CPU)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([3, 10], "label 10, which stands for no label: expected 0 to 9, a class of the network"),
        ([11, 3], "label 11: expected 0 to 9"),
        ([3, -1], "label -1: expected 0 to 9"),
        ([3], "1 labels for 2 samples: expected one for each"),
    ],
)
def test_a_label_that_is_no_class_is_refused(labels: list[int], message: str, model: Denoiser):
    with pytest.raises(ValueError, match=re.escape(message)):
        next(pipeline(model).sample_batches([0, 1], labels))
    with pytest.raises(ValueError, match=re.escape(message)):
        preview_trajectory(pipeline(model), [0, 1], labels)


def test_a_network_without_classes_is_given_no_label():
    model = build_denoiser(TINY, SHAPE, 10)
    model.null_label = 0
    with pytest.raises(ValueError, match=re.escape("labels [0] for a network without classes: expected None")):
        next(pipeline(model).sample_batches([0], [0]))


@pytest.mark.parametrize("counts", [(1,) * 10, (5000,) * 10, (7,), (3, 3)])
def test_classes_of_equal_counts_take_turns(counts: tuple[int, ...]):
    seeds = [0, 1, 2, 17, 10**12 + 3]
    assert labels_by_share(seeds, counts) == [seed % len(counts) for seed in seeds]


@pytest.mark.parametrize("counts", [(90, 10), (1, 0, 999), (178, 182, 177, 183), (5, 3, 2), tuple(range(1, 30))])
def test_labels_have_the_proportions_of_the_training_set(counts: tuple[int, ...]):
    total = sum(counts)
    assert Counter(labels_by_share(range(total), counts)) == {i: n for i, n in enumerate(counts) if n}
    for first, n in ((0, 40), (7, 100), (10**9, 1000)):
        counted = Counter(labels_by_share(range(first, first + n), counts))
        assert all(abs(counted[i] - n * count / total) <= 2 for i, count in enumerate(counts))


def test_the_label_of_a_seed_is_its_own():
    together = labels_by_share(range(50), (90, 10, 3))
    assert [labels_by_share([seed], (90, 10, 3))[0] for seed in range(50)] == together


def test_huge_counts_take_little_memory():
    counted = Counter(labels_by_share(range(1000), (2**62 + 1, 2**62 - 1, 1)))
    assert counted[0] + counted[1] == 1000
    assert abs(counted[0] - counted[1]) <= 1


@pytest.mark.parametrize("counts", [(), (0, 0), (3, -1)])
def test_counts_that_give_no_proportions_are_refused(counts: tuple[int, ...]):
    with pytest.raises(ValueError, match="expected numbers of images, not all 0"):
        labels_by_share([0], counts)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_samples_that_are_not_finite_are_an_error_and_no_black_images(value: float):
    broken = build_denoiser(TINY, SHAPE, 10).eval()
    broken.net.load_state_dict({name: torch.full_like(w, value) for name, w in broken.net.state_dict().items()})
    with pytest.raises(FloatingPointError, match="2 of 2 samples hold NaN or inf"):
        next(pipeline(broken).sample_batches([0, 1], [3, 4]))


def test_eps_near_pure_noise_causes_one_warning(capsys: pytest.CaptureFixture[str]):
    model = build_denoiser(replace(TINY, target=Eps()), (1, 8, 8), 10)
    for sigma_max in (9_999.0, 12_345.0, 12_345.0):
        check_starts_solvable(model, sampling_levels(Karras(sigma_max=sigma_max), 4))
    (line,) = capsys.readouterr().err.splitlines()
    assert "Eps() near pure noise: an error of the network counts 1e+04 times" in line


def test_v_near_pure_noise_causes_no_warning(capsys: pytest.CaptureFixture[str]):
    model = build_denoiser(replace(TINY, target=V()), (1, 8, 8), 10)
    check_starts_solvable(model, sampling_levels(Karras(sigma_max=1e5), 4))
    assert not capsys.readouterr().err
