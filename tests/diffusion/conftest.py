import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def combinations() -> ModuleType:
    """docs/combinations.py, which makes a page of the guide and holds what it takes to measure a sampler."""
    path = Path(__file__).parents[2] / "docs" / "combinations.py"
    spec = importlib.util.spec_from_file_location("combinations", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
