"""Tests as a user without rights."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import limpid


@contextmanager
def nobody() -> Iterator[None]:
    """Without the rights of root, if the tests have them."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        if not os.path.exists(limpid.__file__):
            pytest.skip("only root may read this checkout, so nobody else can run it")
        yield
    finally:
        os.seteuid(0)
