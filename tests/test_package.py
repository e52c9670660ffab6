"""What is installed from the distribution works without the repository."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAMPLE = """
import limpid
samples = limpid.load("cifar10-small").sample(2, steps=2, labels="horse")
samples.grid().save("grid.png")
print(limpid.__file__, limpid.__version__, len(samples))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, and the wheel that is made of it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "-q", "--outdir", str(folder), str(ROOT)], check=True)
    return folder


def test_the_source_distribution_holds_the_source_and_no_data(built: Path):
    (archive,) = built.glob("limpid_diffusion-*.tar.gz")
    with tarfile.open(archive) as files:
        names = {"/".join(Path(name).parts[1:]) for name in files.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/limpid/py.typed", "src/limpid/training/loop.py"} <= names
    assert {"src/limpid/lab/page/index.html", "src/limpid/lab/page/noise.js", "src/limpid/lab/page/style.css"} <= names
    assert archive.stat().st_size < 16 * 2**20


def test_the_wheel_samples_and_trains_in_an_environment_of_its_own(built: Path, tmp_path: Path):
    (wheel,) = built.glob("*.whl")
    place, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(place), str(wheel)]
    subprocess.run(pip, check=True)
    environment = os.environ | {"PYTHONPATH": str(place), "LIMPID_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", SAMPLE], cwd=work, env=environment, capture_output=True, text=True, check=True
    )
    file, version, count = done.stdout.split()
    assert Path(file).is_relative_to(place)
    assert (version, count) == ("0.2.0", "2")
    command = [sys.executable, "-m", "limpid", "train", "demo", "--duration", "64", "--batch-size", "32"]
    command += ["--network.model-channels", "16", "--sampling.steps", "2"]
    subprocess.run(command, cwd=work, env=environment, capture_output=True, check=True)
    assert (work / "runs" / "demo" / "samples.png").is_file()
