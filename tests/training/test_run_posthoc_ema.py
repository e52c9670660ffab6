"""EMAs of other lengths are reconstructed from the snapshots of a run."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from run_results import final_tensors
from tiny_recipes import CPU

from limpid.cli.main import main
from limpid.sampling.pipeline import load
from limpid.storage import checkpoint

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_a_post_hoc_ema_equals_the_ema_that_was_tracked(finished: Path, tmp_path: Path):
    folder = shutil.copytree(finished, tmp_path / "run")
    assert main(["posthoc-ema", str(folder), "--std", "0.1"]) == 0
    (built,) = (folder / "averages" / "0.100").glob("*.safetensors")
    tracked = {
        name.removeprefix("power1."): value for name, value in final_tensors(finished).items() if "power1." in name
    }
    for name, value in checkpoint.read_tensors(built, "ema.").items():
        # The snapshots are in half precision.
        torch.testing.assert_close(value.float(), tracked[name], rtol=2e-3, atol=2e-3)
    assert load(built, runtime=CPU).image_shape == (1, 8, 8)


def test_post_hoc_emas_that_are_reconstructed_at_the_same_time_are_intact(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, write = shutil.copytree(finished, tmp_path / "run"), checkpoint._write

    def write_slowly(*args) -> None:
        write(*args)
        time.sleep(0.3)

    monkeypatch.setattr(checkpoint, "_write", write_slowly)
    with ThreadPoolExecutor() as executor:
        assert list(executor.map(lambda _: main(["posthoc-ema", str(folder)]), range(2))) == [0, 0]
    (built,) = (folder / "averages" / "0.100").iterdir()
    checkpoint.verify(built)
