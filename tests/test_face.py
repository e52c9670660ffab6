"""What `import limpid` offers: quick to import, complete, documented, and usable in a few lines."""

import importlib.util
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_recipes import CPU

import limpid
from limpid.diffusion.schedules import Cosine
from limpid.sampling.samples import Samples

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "limpid"
IMPORT = """
import sys, time
begin = time.process_time()
import limpid
print(time.process_time() - begin, "torch" in sys.modules, "numpy" in sys.modules)
"""


def test_importing_limpid_takes_less_than_a_tenth_of_a_second_and_no_torch():
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    seconds, torch, numpy = done.stdout.split()
    assert float(seconds) < 0.1
    assert (torch, numpy) == ("False", "False")


def test_every_name_that_is_offered_is_there_and_listed():
    assert sorted(limpid.__all__) == limpid.__all__ == sorted(limpid.HOMES)
    assert all(getattr(limpid, name) is not None for name in limpid.__all__)
    assert set(limpid.__all__) <= set(dir(limpid))
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        limpid.lode  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def modules_of(package: Path) -> set[str]:
    files = {path.stem for path in package.glob("*.py")} - {"__init__"}
    return files | {path.parent.name for path in package.glob("*/__init__.py")}


@pytest.mark.parametrize("init", sorted(SOURCE.rglob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_a_package_lists_its_modules(init: Path):
    name = ".".join(("limpid", *init.parent.relative_to(SOURCE).parts))
    package = importlib.import_module(name)
    listed = set(package.__all__)
    assert modules_of(init.parent) <= listed or not listed & modules_of(init.parent)
    for one in listed - modules_of(init.parent):
        assert hasattr(package, one), f"{name}.{one}"


def test_the_reference_is_made_from_the_source():
    made = subprocess.run([sys.executable, str(ROOT / "docs" / "api.py")], capture_output=True, text=True, check=True)
    written = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert written == made.stdout, "python docs/api.py > docs/api.md writes it anew"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer.rl": 1e-3}, "no field of recipe.optimizer 'rl'"),
        ({"batchsize": 3}, "did you mean batch_size?"),
        ({"batch_size": "x"}, "recipe.batch_size is 'x': expected a whole number"),
        ({"schedule": "Kosine"}, "did you mean Cosine?"),
        ({"batch_size.x": 2}, "which has no field x"),
    ],
)
def test_a_change_of_a_recipe_that_cannot_be_is_one_line(changes: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as error:
        limpid.recipe("demo", changes)
    assert "\n" not in str(error.value)


def test_a_recipe_takes_changes_by_keyword_by_dotted_name_and_by_value():
    recipe = limpid.recipe("demo", {"optimizer.lr": 1e-3}, batch_size=7, schedule=Cosine(T=10))
    assert (recipe.optimizer.lr, recipe.batch_size, recipe.schedule) == (1e-3, 7, Cosine(T=10))
    assert limpid.recipe("demo", schedule="Cosine").schedule == Cosine()


def test_a_recipe_shows_its_fields_in_a_notebook():
    shown = limpid.recipe("demo", batch_size=7)._repr_html_()
    assert "<td>batch_size</td><td><code>7</code></td>" in shown
    assert shown.count("<tr>") == len(fields(limpid.Recipe))


@pytest.fixture(scope="module")
def samples() -> Samples:
    model = limpid.load("cifar10-small", runtime=CPU)
    return model.sample(4, labels=["horse", "ship"], steps=2)


def test_samples_are_images_arrays_and_files(samples: Samples, tmp_path: Path):
    assert len(samples) == 4
    assert samples.labels == (7, 7, 8, 8)
    assert isinstance(samples[-1], Image.Image)
    assert samples[-1].tobytes() == samples[3].tobytes() == list(samples)[3].tobytes()
    assert np.asarray(samples).shape == (4, 32, 32, 3)
    assert samples[1:3].seeds == (1, 2)
    assert [path.name for path in samples.save(tmp_path)] == [f"{seed:06d}.png" for seed in range(4)]
    with np.load(samples.to_npz(tmp_path / "a.npz")) as arrays:
        assert arrays["labels"].tolist() == [7, 7, 8, 8]
        assert arrays["images"].shape == (4, 32, 32, 3)
    assert samples._repr_png_().startswith(b"\x89PNG")
    assert repr(samples) == "Samples: 4 images of 3x32x32, of 2 classes"


def test_the_same_seed_gives_the_same_image_alone(samples: Samples):
    model = limpid.load("cifar10-small", runtime=CPU)
    alone = model.sample(seeds=[2], labels="ship", steps=2)
    assert (alone.pixels.int() - samples.pixels[2:3].int()).abs().max() <= 1


def test_a_saved_pipeline_is_loaded_again_to_the_bit(tmp_path: Path):
    model = limpid.load("cifar10-small", runtime=CPU)
    again = limpid.load(model.save(tmp_path / "mine.safetensors"), runtime=CPU)
    assert again.recipe == model.recipe
    assert again.class_names == model.class_names
    assert (again.sample(2, steps=2).pixels == model.sample(2, steps=2).pixels).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": "hors"}, "did you mean horse?"),
        ({"labels": 10}, "label 10, which stands for no label"),
        ({"n": 0}, "0 samples in batches of 64"),
        ({"labels": [0, 1, 2]}, "3 labels for 2 samples"),
    ],
)
def test_a_mistake_in_sampling_is_one_line(arguments: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        limpid.load("cifar10-small", runtime=CPU).sample(**{"n": 2, "steps": 1} | arguments)  # pyright: ignore[reportArgumentType]


USER = """
from pathlib import Path

import numpy as np
from torch import nn

import limpid
from limpid.diffusion.schedules import Cosine


class Report(limpid.Callback):
    def on_checkpoint(self, path: Path, images_seen: int) -> None:
        print(path, images_seen)


model = limpid.load("cifar10-small")
samples = model.sample(16, labels=["horse"], seed=0, steps=10, guidance=2.0)
samples.grid().save("horses.png")
array, size = np.asarray(samples), samples[0].size
recipe = limpid.recipe("demo", {"optimizer.lr": 1e-3}, batch_size=64, schedule=Cosine())
trained = limpid.train(recipe, "photos", run="runs/photos", callbacks=[Report()], runtime=limpid.Runtime("cpu"))
for step in limpid.train_steps(recipe, array, network=nn.Identity()):
    print(step.images_seen, step.loss.mean().item())
report = limpid.evaluate(trained, n=1000)
print(limpid.compare(report, report), limpid.bits_per_dim(trained).mean)
limpid.show.forward(recipe, Path("forward.png"))
"""


def test_the_code_of_a_user_is_clean_for_a_strict_type_checker(tmp_path: Path):
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "0 errors" in done.stdout, done.stdout
