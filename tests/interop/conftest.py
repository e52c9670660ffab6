"""What the tests of the export to ONNX share: an exported folder, and the module draw.py."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from onnx_exports import RECIPE, SHAPE
from random_models import saved_model

from limpid.cli.main import main
from limpid.interop import onnx


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `limpid export onnx` makes of a guided model with classes."""
    folder = tmp_path_factory.mktemp("onnx")
    options = ["--out", str(folder / "out"), "--more-steps", "2"]
    assert main(["export", "onnx", saved_model(folder / "run", RECIPE, SHAPE), *options]) == 0
    return folder / "out"


@pytest.fixture(scope="session")
def draw() -> ModuleType:
    """The module draw.py."""
    spec = importlib.util.spec_from_file_location("draw", onnx.FILES / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
