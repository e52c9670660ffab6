"""What several rooms of tests need."""

import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared" / "cifar10"
UNPACKED = REPOSITORY / ".cache" / "cifar10"


# Small tensors gain nothing from threads, and processes whose threads wait for one another on shared cores crawl.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Draws that a test makes without a generator of its own are the same in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def cifar_root() -> Path:
    """A folder with the real CIFAR-10 in its official layout, for tests that are about real pictures."""
    if not SHARED.is_dir():
        pytest.skip("real CIFAR-10 is not at ../shared/cifar10")
    if not UNPACKED.is_dir():
        UNPACKED.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=UNPACKED.parent) as scratch:
            whole = Path(scratch, "cifar10")
            subprocess.run([sys.executable, str(SHARED / "unpack.py"), str(whole)], check=True)
            with suppress(OSError):  # another run of the tests was first
                whole.rename(UNPACKED)
    return UNPACKED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test of real pictures may be skipped only where they are missing: elsewhere the skip fails the run."""
    report = yield
    wants_pictures = "cifar_root" in getattr(item, "fixturenames", ())
    if report.skipped and wants_pictures and SHARED.is_dir() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped although real CIFAR-10 is at {SHARED}: {report.longrepr}"
    return report
