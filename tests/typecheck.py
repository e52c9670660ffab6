"""What checks every annotation of limpid, shapes included, while its tests run."""

from collections.abc import Iterator
from contextlib import contextmanager

from beartype import BeartypeConf, beartype
from jaxtyping import config

# An int is accepted for a float, as in Python's typing.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


@contextmanager
def unchecked() -> Iterator[None]:
    """No annotation is checked meanwhile, which takes three quarters of the time of a step on a few numbers.

    For long repetitions of calls that another test makes with checks.
    """
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)
