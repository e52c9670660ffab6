"""Runs that tests of training share: each is trained once."""

import shutil
from pathlib import Path

import pytest
from distributed_runs import UNEVEN, train
from process_group import together
from run_faults import stop_at
from run_results import checkpoint_images
from tiny_recipes import CPU, FULL, SHORT

from limpid.training.run import run


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of SHORT from its first step to its last."""
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    assert run(SHORT, folder, CPU)
    return folder


@pytest.fixture(scope="session")
def after_96_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped after 96 images; it has two checkpoints."""
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(96, patch)
        assert not run(SHORT, folder, CPU)
    assert checkpoint_images(folder) == [64, 96]
    return folder


@pytest.fixture
def stopped(after_96_images: Path, tmp_path: Path) -> Path:
    """A copy of the stopped run, which a test may damage."""
    return shutil.copytree(after_96_images, tmp_path / "run")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of FULL; tests that write to its folder take a copy."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert run(FULL, folder, CPU)
    return folder


@pytest.fixture(scope="session")
def one_process_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of UNEVEN in one process."""
    folder = tmp_path_factory.mktemp("runs") / "one-process"
    assert run(UNEVEN, folder, CPU)
    return folder


@pytest.fixture(scope="session")
def two_process_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of FULL in two processes."""
    folder = tmp_path_factory.mktemp("two-processes")
    assert together(2, folder, train, FULL, folder / "run").codes == [0, 0]
    return folder / "run"
