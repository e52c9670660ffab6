from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def diffusers() -> ModuleType:
    """An outside implementation to agree with."""
    return pytest.importorskip("diffusers")
