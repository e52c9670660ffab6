"""Editing from the command's side: every edit writes a sheet that shows what it says, every mistake gets one line."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limpid.cli.edit import EDITS, Edit, edit_sheet
from limpid.cli.inputs import load_images, parse_mask
from limpid.cli.main import main
from limpid.data import Digits
from limpid.data.images import ImageDataset
from limpid.data.readers.scan import read_image
from limpid.data.stream import StreamingDataset
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Ancestral, Ddim
from limpid.diffusion.schedules import Karras, LinearBeta
from limpid.nets import UNet
from limpid.recipes.recipe import TrainingSchedule, build_denoiser
from limpid.recipes.registry import RECIPES
from limpid.runtime.device import Runtime
from limpid.runtime.rng import generator
from limpid.sampling.edit import INVERSION_SIGMA_MIN
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.training_data import dataset_image

CPU = Runtime("cpu", "float32").resolve()
DIGITS = Digits(size=8).open("cpu")
CELL = 96  # the size of an 8x8 image on a sheet, in pixels


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """A small network with random weights: edits are right or wrong whatever it has learnt."""
    network = UNet(model_channels=16, channel_mult=(1, 2), num_blocks=1, attn_resolutions=(4,), dropout=0.0)
    recipe = replace(RECIPES["demo"](), data=Digits(size=8), network=network)
    model = build_denoiser(recipe, (1, 8, 8), 10).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.05, generator=generator("cpu", "weights", parameter.numel()))
    return Pipeline(model, recipe, (1, 8, 8), tuple("0123456789"), runtime=CPU)


def sheet_of(what: str, pipeline: Pipeline, chosen: Edit) -> Image.Image:
    return edit_sheet(what, pipeline, chosen, DIGITS)


def options(path: Path, **changed) -> Edit:
    return replace(Edit(path / "sheet.png", num_variations=3, steps=4, resample=2, sampler=Ddim()), **changed)


@pytest.mark.parametrize("what", EDITS)
@pytest.mark.parametrize("labels", [(), ("3",)], ids=["no label", "a label"])
def test_every_edit_writes_its_sheet(what: str, labels: tuple[str, ...], pipeline: Pipeline, tmp_path: Path):
    sheet = sheet_of(what, pipeline, options(tmp_path, labels=labels))
    assert sheet.width > 4 * CELL
    assert sheet.height > 2 * CELL


def test_inversion_begins_at_a_lower_level_than_sampling_ends(pipeline: Pipeline, tmp_path: Path):
    stops = replace(pipeline.recipe, sampling=replace(pipeline.recipe.sampling, schedule=Karras(sigma_min=0.05)))
    levels = partial(replace(pipeline, recipe=stops).levels, 4)
    assert [levels().sigma[-2].item(), levels(INVERSION_SIGMA_MIN).sigma[-2].item()] == pytest.approx(
        [0.05, INVERSION_SIGMA_MIN]
    )
    assert levels().sigma[0] == levels(INVERSION_SIGMA_MIN).sigma[0]


def test_interpolation_between_seeds_goes_from_the_sample_of_one_to_that_of_the_other(
    pipeline: Pipeline, tmp_path: Path
):
    between = pipeline.interpolate_seeds(3, 8, 5, labels="3", steps=4, sampler=Ddim())
    ends = pipeline.sample(2, seeds=[3, 8], labels="3", steps=4, sampler=Ddim(), guidance=1)
    assert (between[[0, -1]].int() - ends.pixels.int()).abs().max() <= 1  # a batch of another size
    assert len(between.flatten(1).unique(dim=0)) == 5
    sheet = sheet_of("interpolate", pipeline, options(tmp_path, seeds=(3, 8), labels=("3",)))
    assert sheet.width > 3 * CELL


@pytest.mark.parametrize("what", EDITS)
def test_the_same_edit_gives_the_same_sheet_and_another_seed_another(what: str, pipeline: Pipeline, tmp_path: Path):
    def sheet_bytes(seed: int) -> bytes:
        chosen = options(tmp_path, seed=seed, images=("0", "7"), strengths=(0.5,))
        return sheet_of(what, pipeline, chosen).tobytes()

    assert sheet_bytes(1) == sheet_bytes(1)
    assert (sheet_bytes(1) == sheet_bytes(2)) == (what in ("invert", "interpolate"))


@pytest.mark.parametrize("labels", [(), ("3",)], ids=["no label", "a label"])
def test_img2img_can_sample_with_the_learned_variance(labels: tuple[str, ...], pipeline: Pipeline, tmp_path: Path):
    recipe = replace(pipeline.recipe, schedule=LinearBeta(), learned_variance=True)
    recipe = replace(recipe, sampling=replace(recipe.sampling, schedule=TrainingSchedule(), guidance=Guidance()))
    learnt = replace(pipeline, recipe=recipe, model=build_denoiser(recipe, pipeline.image_shape, 10).eval())
    assert sheet_of("img2img", learnt, options(tmp_path, labels=labels, sampler=Ancestral("learned"))).width > CELL


@pytest.mark.parametrize("what", ["inpaint", "img2img", "invert"])
def test_one_image_is_edited_to_each_of_several_classes(what: str, pipeline: Pipeline, tmp_path: Path):
    several = options(tmp_path, images=("0",), labels=("3", "5", "8"), strengths=(0.5,))
    repeated = replace(several, images=("0", "0", "0"))
    assert sheet_of(what, pipeline, several).height == sheet_of(what, pipeline, repeated).height


@pytest.mark.parametrize("mask", ["left", "right", "top", "bottom", "centre"])
def test_a_mask_by_name_is_the_part_that_it_names(mask: str):
    part = parse_mask(mask, (3, 8, 4))
    y, x = (where.double().mean().item() for where in part.nonzero().T)
    assert part.double().mean() == (0.25 if mask == "centre" else 0.5)
    towards = {"left": (3.5, 0.5), "right": (3.5, 2.5), "top": (1.5, 1.5), "bottom": (5.5, 1.5), "centre": (3.5, 1.5)}
    assert (y, x) == towards[mask]


def drawing(path: Path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels).save(path)
    return str(path)


def test_a_mask_can_be_a_file(tmp_path: Path):
    white = np.zeros((32, 32), np.uint8)
    white[:8, 8:] = 255
    part = parse_mask(drawing(tmp_path / "mask.png", white), (1, 8, 8))
    assert part.nonzero().tolist() == [[y, x] for y in range(2) for x in range(2, 8)]


def test_a_file_becomes_an_image_of_the_networks_shape(tmp_path: Path):
    """A wide colour image is cropped to its middle, and made grey as Pillow does."""
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = (200, 100, 50)
    file = drawing(tmp_path / "wide.png", wide)
    assert read_image(file, (3, 8, 8))[:, 4, 4].tolist() == [200, 100, 50]
    assert read_image(file, (1, 8, 8))[0, 1:7, 1:7].unique().tolist() == [124]
    assert read_image(file, (1, 8, 8)).min() > 100, "the black sides are cut away"


def test_images_keep_their_order_whether_indices_or_files(tmp_path: Path):
    file = drawing(tmp_path / "mine.png", np.full((8, 8), 77, np.uint8))
    found, names = load_images(["5", file, "2", "5"], DIGITS, (1, 8, 8))
    assert torch.equal(found[[0, 2, 3]], DIGITS.pixels[[5, 2, 5]])
    assert found[1].unique().tolist() == [77]
    five, two = (DIGITS.class_names[DIGITS.labels[i]] for i in (5, 2))
    assert names == [five, "mine", two, five]


def test_a_streamed_data_set_has_the_same_image_at_each_index():
    streamed = StreamingDataset(
        [(DIGITS.pixels[i], int(DIGITS.labels[i])) for i in range(9)], DIGITS.shape, DIGITS.class_names
    )
    for index in (0, 8):
        (pixels, name), (streamed_pixels, same) = dataset_image(index, DIGITS), dataset_image(index, streamed)
        assert torch.equal(pixels, streamed_pixels)
        assert name == same
    assert dataset_image(0, ImageDataset(DIGITS.pixels[:1], DIGITS.labels[:1]))[1] == "0"


WRONG = [
    ("paint", {}, "no edit 'paint': choose from inpaint, img2img, interpolate, invert; did you mean inpaint?"),
    ("inpaint", {"mask": "middle"}, "no mask 'middle': choose from left, right, top, bottom, centre"),
    ("inpaint", {"mask": "none.png"}, "cannot read the image none.png: No such file or directory"),
    ("inpaint", {"resample": 0}, "--resample 0: expected at least 1"),
    ("inpaint", {"num_variations": 0}, "--num-variations 0: expected at least 1"),
    ("img2img", {"strengths": (0.5, 1.5)}, "strength 1.5: expected a number from 0 (the image) to 1 (noise)"),
    ("img2img", {"steps": 0}, "--steps 0: expected at least 1"),
    ("img2img", {"images": ("1797",)}, "no image 1797: the data set has 1,797, numbered from 0"),
    ("img2img", {"images": ("cat.png",)}, "cannot read the image cat.png: No such file or directory"),
    ("img2img", {"images": (__file__,)}, "test_edit.py: it is in no known format"),
    ("img2img", {"images": ()}, "--images is empty: expected indices in the data set, or files"),
    ("interpolate", {"images": ("1", "2", "3")}, "3 images: interpolation takes them in pairs"),
    ("interpolate", {"labels": ("1", "2", "3", "3")}, "interpolation needs the same class for both"),
    ("interpolate", {"seeds": (1, 2, 3)}, "3 --seeds: interpolation takes them in pairs"),
    (
        "interpolate",
        {"seeds": (1, 2), "sampler": Ancestral()},
        "this sampler adds noise, and only a deterministic one",
    ),
    ("img2img", {"seeds": (1, 2)}, "--seeds are for interpolate: img2img takes one --seed"),
    ("invert", {"labels": ("cat",)}, "no class 'cat': choose from 0, 1, 2"),
    ("invert", {"labels": ("1", "2")}, "2 --labels for 4 images: expected one for each, or one for all"),
]


@pytest.mark.parametrize(
    ("what", "changed", "message"), WRONG, ids=[f"{what}-{message[:24]}" for what, _, message in WRONG]
)
def test_a_mistake_gets_one_clear_line(what, changed, message, pipeline: Pipeline, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        sheet_of(what, pipeline, options(tmp_path, **changed))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("colour", "message"), [(255, "white everywhere"), (0, "white nowhere")])
def test_a_mask_of_one_colour_is_refused(colour: int, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        parse_mask(drawing(tmp_path / "mask.png", np.full((8, 8), colour, np.uint8)), (1, 8, 8))


def test_a_network_that_was_trained_with_every_label_needs_one(pipeline: Pipeline, tmp_path: Path):
    always = replace(pipeline, recipe=replace(pipeline.recipe, label_dropout=0.0))
    with pytest.raises(ValueError, match=r"trained with a label for every image: name one with --labels \(0, 1, 2"):
        sheet_of("img2img", always, options(tmp_path))


def test_a_network_without_classes_takes_no_label(pipeline: Pipeline, tmp_path: Path):
    with pytest.raises(ValueError, match="is unconditional, so it takes no --labels 3"):
        sheet_of("img2img", replace(pipeline, class_names=()), options(tmp_path, labels=("3",)))


def test_the_training_data_is_opened_once(pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[object] = []
    monkeypatch.setattr(Digits, "open", lambda data, device: opened.append(data) or DIGITS)
    model = str(pipeline.save(tmp_path / "model.safetensors"))
    words = [model, "--images", "0", "--steps", "1", "--num-variations", "1", "--resample", "1", "--device", "cpu"]
    assert main(["edit", "inpaint", *words]) == 0
    assert len(opened) == 1


@pytest.mark.parametrize("command", ["edit img2img", "evaluate", "likelihood"])
def test_data_of_another_size_than_the_model_is_a_line(
    command: str, pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    recipe = replace(pipeline.recipe, data=Digits(size=16))
    model = replace(pipeline, recipe=recipe).save(tmp_path / "model.safetensors")
    assert main([*command.split(), str(model), "--device", "cpu"]) == 2
    line = capsys.readouterr().err
    assert "takes images of 8x8 grey, and its data has 16x16 grey: give it others by --images FILE" in line
    assert line.count("\n") == 1
