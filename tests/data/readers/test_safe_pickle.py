import builtins
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from limpid.data.readers.safe_pickle import Record, array, unpickle

BYTES = np.arange(24, dtype=np.uint8).reshape(4, 6)


class Call:
    """Pickles as a call of any function, which unpickling would make."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "function", [os.system, builtins.eval, builtins.open, np.load], ids=["system", "eval", "open", "load"]
)
def test_a_pickle_cannot_call_anything(protocol: int, function: object, tmp_path: Path):
    blob = pickle.dumps(Call(function, f"touch {tmp_path / 'ran'}"), protocol)
    with pytest.raises(pickle.UnpicklingError, match="only numpy arrays are admitted"):
        unpickle(blob)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", [3, 4])
def test_an_array_of_bytes_is_read_as_it_was_written(protocol: int):
    record = unpickle(pickle.dumps(BYTES, protocol))
    assert isinstance(record, Record)
    np.testing.assert_array_equal(array(record), BYTES)


def test_python_2s_pickles_are_read_with_strings_as_bytes():
    """Written by hand, as numpy under Python 2 pickled {"a": np.array([7, 8], "u1")} with protocol 2."""
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    value = unpickle(b"\x80\x02}U\x01a" + made + b"(K\x01K\x02\x85" + dtype + b"\x89U\x02\x07\x08tbs.")
    assert isinstance(value, dict)
    np.testing.assert_array_equal(array(value[b"a"]), np.array([7, 8], np.uint8))


@pytest.mark.parametrize("other", [BYTES.astype(np.int64), np.asfortranarray(BYTES)], ids=["int64", "Fortran order"])
def test_an_array_of_another_kind_is_refused(other: np.ndarray):
    record = unpickle(pickle.dumps(other, 4))
    assert isinstance(record, Record)
    with pytest.raises(ValueError, match="not of uint8 in C order"):
        array(record)


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (b"\x80\x02K\x01r\xff\xff\xff\xff.", "remember a value by the number 4294967295"),
        (b"(dp4294967295\n.", "remember a value by the number 4294967295"),
        (b"\x80\x02}(K\x01" + b"\x85" * 1_000_000 + b"K\x02u.", "more than 20,000 tuples"),
    ],
    ids=["64 GB of memory", "the same, as text", "a stack of a million"],
)
def test_a_pickle_that_is_a_bomb_is_refused_before_it_is_read(blob: bytes, said: str):
    """The first two would have Python take 16 bytes for every number, the third end the process."""
    with pytest.raises(pickle.UnpicklingError, match=said):
        unpickle(blob)


def test_lengths_that_are_not_there_are_refused_before_memory_is_taken_for_them():
    with pytest.raises(ValueError, match="expected 1099511627776 bytes in a bytes8, but only 0 remain"):
        unpickle(b"\x80\x04\x8e" + (2**40).to_bytes(8, "little"))
