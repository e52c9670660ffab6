import builtins
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from limpid.data.readers import safe_pickle
from limpid.data.readers.safe_pickle import Record, array, unpickle

BYTES = np.arange(24, dtype=np.uint8).reshape(4, 6)

DOUBLED = b"K\x01" + b"2\x86" * 100
"""A pickled tuple of 100 levels, each of which holds the next one twice."""


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
    ("blob", "message"),
    [
        (b"\x80\x02K\x01r\xff\xff\xff\xff.", "remember a value by the number 4294967295"),
        (b"(dp4294967295\n.", "remember a value by the number 4294967295"),
        (b"\x80\x02}(K\x01" + b"\x85" * 1_000_000 + b"K\x02u.", "more than 20,000 tuples"),
        (b"\x80\x02}(" + DOUBLED + b"K\x02u.", "keys are tuples of more than 1,000,000 values"),
        (b"\x80\x02}" + DOUBLED + b"K\x02s.", "keys are tuples of more than 1,000,000 values"),
        (b"\x80\x02(" + DOUBLED + b"K\x02d.", "keys are tuples of more than 1,000,000 values"),
        (b"\x80\x04\x8f(" + DOUBLED + b"\x90.", "keys are tuples of more than 1,000,000 values"),
        (b"\x80\x04(" + DOUBLED + b"\x91.", "keys are tuples of more than 1,000,000 values"),
        (b"\x80\x02}(" + DOUBLED + b"(eNbq\x070h\x07K\x02u.", "keys are tuples of more than 1,000,000 values"),
        (b"\x80\x02}K\x01q\x00" + (b"0(" + b"h\x00" * 100 + b"tq\x00") * 9 + b"K\x02s.", "keys are tuples of more"),
    ],
    ids=[
        *("64 GB of memory", "the same, as text", "a stack of a million", "nested keys", "a nested key"),
        *("nested keys of a new dict", "a nested item", "a nested item of a frozenset", "a nested key from the memo"),
        "wide and nested keys",
    ],
)
def test_a_pickle_that_is_a_bomb_is_refused_before_it_is_read(blob: bytes, message: str):
    """The first two would have Python take 16 bytes for every number, the third end the process, the others 2^100
    steps."""
    with pytest.raises(pickle.UnpicklingError, match=message):
        unpickle(blob)


def test_tuples_are_keys_as_ever_and_a_large_value_is_no_key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(safe_pickle, "HASHED", 20)
    value = {("a", (1, 2)): [(3,)] * 1000, "b": tuple(range(100)), 5: ({}, [(), {(1, 2)}])}
    for protocol in (0, 1, 2, 4, 5):
        blob = pickle.dumps({**value, 5: 0} if protocol < 4 else value, protocol)
        assert unpickle(blob) == pickle.loads(blob)
    with pytest.raises(pickle.UnpicklingError, match="keys are tuples of more than 20 values"):
        unpickle(pickle.dumps({tuple(range(30)): 0}))


def test_a_length_beyond_the_end_is_refused_before_memory_is_allocated():
    with pytest.raises(ValueError, match="expected 1099511627776 bytes in a bytes8, but only 0 remain"):
        unpickle(b"\x80\x04\x8e" + (2**40).to_bytes(8, "little"))
