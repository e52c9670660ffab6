"""Files that are broken by chance, and what a reader may do with them: read them, or refuse them in one line.

LIMPID_FUZZ=20000 pytest -n 0 -s tests/data/readers/test_fuzz.py tests/data/readers/test_fuzz_images.py tries 20,000
inputs for each reader and prints what became of them.
"""

import os
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

ROUNDS = int(os.environ.get("LIMPID_FUZZ", "60"))
SECONDS = 10.0
"""No input may take longer, in seconds of the processor: a machine that does other things besides fails no test."""
MEGABYTES = 1_200
"""The process may grow by no more: a header may claim an image of 64 million pixels, which are 256 MB."""

NUMBERS = [
    b"\0",
    b"\1",
    b"\x7f",
    b"\xff",
    b"\0\0",
    b"\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\xff" * 4,
    b"\xff" * 8,
]

Edits = tuple[int, list[tuple[str, float, float, bytes]]]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["put", "insert", "cut", "end", "repeat", "splice"]),
        st.one_of(st.floats(0, 1), st.floats(0, 0.1)),
        st.floats(0, 1),
        st.one_of(st.sampled_from(NUMBERS), st.binary(min_size=1, max_size=8)),
    ),
    min_size=1,
    max_size=5,
)
EDITS = st.tuples(st.sampled_from([0, 8, 8, 16, 32]), CHANGES)
"""How many bytes at the start stay as they are, so that a file is still recognized, and the changes of the others."""


def edited(blob: bytes, other: bytes, edits: Edits) -> bytes:
    """The bytes with a few of them changed, inserted, repeated or cut; bytes are spliced in from `other`."""
    unchanged, changes = edits
    head, blob = blob[:unchanged], blob[unchanged:]
    for kind, where, much, new in changes:
        at, n = int(where * len(blob)), int(much**4 * len(blob))
        match kind:
            case "put":
                blob = blob[:at] + new + blob[at + len(new) :]
            case "insert":
                blob = blob[:at] + new + blob[at:]
            case "cut":
                blob = blob[:at] + blob[at + n :]
            case "end":
                blob = blob[: max(at, 1)]
            case "repeat":
                blob = blob[: at + n] + blob[at:]
            case "splice":
                blob = blob[:at] + other[int(much * len(other)) :]
    return (head + blob)[: 2**20]


WATCH: dict[str, list[str]] = {}


def watch(event: str, arguments: tuple) -> None:
    """Note what the process does outside of itself while a reader works: files, processes, sockets."""
    if "seen" not in WATCH:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    acts = ("subprocess", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket", "shutil")
    named = ("os.remove", "os.rename", "os.mkdir", "os.link", "os.symlink", "os.chmod", "pickle.find_class")
    if writes or event.startswith(acts) or event in named:
        WATCH["seen"].append(f"{event} {arguments[:2]}")


sys.addaudithook(watch)


@contextmanager
def harmless(*allowed: str) -> Iterator[None]:
    """Fails if the code inside writes, runs or imports anything but what is allowed."""
    WATCH["seen"] = []
    try:
        yield
    finally:
        seen = WATCH.pop("seen")
    assert [what for what in seen if not what.startswith(allowed)] == []


@contextmanager
def counted(name: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Counter[str]]:
    """Counts what became of the inputs of a reader; prints it if LIMPID_FUZZ is set."""
    outcomes: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield outcomes
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES
    assert outcomes["refused"]
    with capsys.disabled():
        if "LIMPID_FUZZ" in os.environ:
            counts = {what: outcomes[what] for what in ("read", "refused", "slowest, ms")}
            reasons = outcomes - Counter(counts)
            print(f"\n{name}: {counts}, {len(reasons)} reasons, {grown:.0f} MB more at the peak")
            print("\n".join(f"    {count:6} {why}" for why, count in reasons.most_common(12)))


def try_reading(act: Callable[[], object], outcomes: Counter[str], *allowed: str) -> None:
    """Read once: the input is read, or refused by a ValueError of one line, soon and without side effects."""
    begin = time.process_time()
    with harmless(*allowed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            act()
            outcomes["read"] += 1
        except ValueError as error:
            output = str(error)
            assert output.isprintable(), output
            assert 0 < len(output) < 500, output
            assert "Type-check error" not in output, output
            outcomes["refused"] += 1
            outcomes[output.rpartition(": ")[2]] += 1
    taken = time.process_time() - begin
    outcomes["slowest, ms"] = max(outcomes["slowest, ms"], round(1_000 * taken))
    assert taken < SECONDS


def fuzzed(rounds: int) -> Callable:
    """Settings of hypothesis for `rounds` inputs: the same in every run, and nothing is written."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=rounds, deadline=None, derandomize=True, database=None, suppress_health_check=checks)
