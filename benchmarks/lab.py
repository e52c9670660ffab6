"""What the lab costs: its start, its frames, its samples beside the command's, and what an open page costs a run.

    python benchmarks/lab.py [--rounds 3] [--out FILE]

Needs the extra `lab`, playwright and chromium. Medians of the rounds, with all rounds behind them. Page and command,
and training with and without a page, take turns. On a machine that others use too, seconds of CPU say more than those
of the clock: both are given.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

from limpid.lab.app import PAGE

PLAY_SECONDS = 4
TRAIN = """
import json, sys, time
import limpid
class Clock(limpid.Callback):
    def on_step(self, step, training):
        self.now = step.images_seen, time.process_time(), time.perf_counter()
        if step.images_seen == 320:
            self.begin = self.now
clock = Clock()
changes = {"duration": 960, "sampling.steps": 2, "every.log": 64, "every.sample": 10**9, "every.save": 10**9}
recipe = limpid.recipe("demo", **changes)
limpid.train(recipe, run=sys.argv[1], callbacks=[clock])
print(json.dumps([after - before for before, after in zip(clock.begin, clock.now)]))
"""


@contextmanager
def lab(folder: Path) -> Iterator[tuple[str, int]]:
    """A lab in a folder: its address and its process id."""
    command = [sys.executable, "-m", "limpid", "lab", "--no-browser"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1], process.pid
    finally:
        process.terminate()
        process.wait()


def open_page(browser: Any, url: str) -> Any:
    """A page at an address; a busy machine may take minutes."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(600_000)
    page.goto(url)
    return page


def start(browser: Any, folder: Path) -> tuple[float, float]:
    """Seconds from the command to the page with its first image, and seconds of CPU of the lab until then."""
    begin = time.perf_counter()
    with lab(folder) as (url, pid):
        page = open_page(browser, f"{url}#noise")
        page.locator(".thumbnails canvas").first.wait_for()
        seconds, used = time.perf_counter() - begin, cpu_seconds(pid)
        page.close()
    return seconds, used


def busy_clock(page: Any) -> Callable[[], float]:
    """A clock of the seconds of CPU of a page's main thread."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds() -> float:
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

    return seconds


def frames(page: Any) -> tuple[float, float]:
    """Frames a second while the view Noise plays, and milliseconds of CPU of the page's main thread for each."""
    busy = busy_clock(page)
    page.get_by_role("button", name="Play").click()
    before = busy()
    count = page.evaluate(
        """(seconds) => new Promise((resolve) => {
          const [begin, slider] = [performance.now(), document.querySelector(".level input")];
          let [frames, last] = [0, slider.value];
          const frame = (now) => {
            if (slider.value !== last) frames++;
            last = slider.value;
            if (now - begin < 1000 * seconds) requestAnimationFrame(frame);
            else resolve(frames);
          };
          requestAnimationFrame(frame); })""",
        PLAY_SECONDS,
    )
    spent = busy() - before
    page.get_by_role("button", name="Pause").click()
    return count / PLAY_SECONDS, 1000 * spent / max(1, count)


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU of a process and of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def worker_of(pid: int) -> int:
    """The process of the jobs of a lab."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(int(child) for child in children if b"limpid.lab.worker" in Path(f"/proc/{child}/cmdline").read_bytes())


def page_samples(page: Any, pid: int, seed: int) -> tuple[float, float]:
    """Seconds from the click to 64 samples in the page, and seconds of CPU of the process that samples."""
    page.get_by_label("First seed").fill(str(seed))
    begin, used = time.perf_counter(), cpu_seconds(worker_of(pid))
    page.get_by_role("button", name="Generate").click()
    page.locator(f"[title^='seed {seed},']").wait_for()
    return time.perf_counter() - begin, cpu_seconds(worker_of(pid)) - used


def command_samples(folder: Path, seed: int) -> tuple[float, float]:
    """The same by the command, which starts Python and loads the network each time."""
    words = ["sample", "cifar10-small", "--num-samples", "64", "--steps", "20", "--seed", str(seed), "--out", "out"]
    begin = time.perf_counter(), sum(os.times()[2:4])
    subprocess.run([sys.executable, "-m", "limpid", *words], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - begin[0], sum(os.times()[2:4]) - begin[1]


def train(folder: Path) -> tuple[float, float]:
    """Images a second of a run, and milliseconds of its CPU for each image."""
    done = subprocess.run([sys.executable, "-c", TRAIN, str(folder)], check=True, capture_output=True, text=True)
    images, cpu, seconds = json.loads(done.stdout.splitlines()[-1])
    return images / seconds, 1000 * cpu / images


def train_watched(browser: Any, folder: Path, name: str) -> tuple[float, float, float, float]:
    """The same while the view Learn shows the run, and the share of a core, in %, of the lab and of its page."""
    with lab(folder) as (url, pid):
        page = open_page(browser, f"{url}#learn")
        page.get_by_label("Recipe", exact=True).wait_for()
        busy = busy_clock(page)
        begin, used, drawn = time.perf_counter(), cpu_seconds(pid), busy()
        result = train(folder / "runs" / name)
        seconds, used, drawn = time.perf_counter() - begin, cpu_seconds(pid) - used, busy() - drawn
        page.locator(".head .where", has_text=re.compile("finished|training")).first.wait_for()
        page.close()
    return *result, 100 * used / seconds, 100 * drawn / seconds


def measure(browser: Any, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Every figure, a value for each round."""
    found: dict[str, list[float]] = {}

    def note(names: tuple[str, ...], act: Callable[[], tuple[float, ...]]) -> None:
        for name, value in zip(names, act(), strict=True):
            found.setdefault(name, []).append(value)
            print(f"{name}: {value:.4g}", file=sys.stderr, flush=True)

    for _ in range(rounds):
        note(("s from the command to the page", "CPU s of the lab until then"), lambda: start(browser, folder))
    with lab(folder) as (url, pid):
        page = open_page(browser, f"{url}#noise")
        page.locator("figure:last-child", has_text="images").wait_for()
        for _ in range(rounds):
            note(("frames a second", "CPU ms of the page a frame"), lambda: frames(page))
        page.goto(f"{url}#sample")
        page.get_by_label("steps", exact=True).fill("20")
        page_samples(page, pid, 10_000)  # the first job imports torch and loads the network
        for i in range(rounds):
            note(("s of 64 samples, page", "CPU s of them, page"), lambda i=i: page_samples(page, pid, 100 * i))
            note(("s of 64 samples, command", "CPU s of them, command"), lambda i=i: command_samples(folder, 100 * i))
        page.close()
    alone = "training images/s without a page", "training CPU ms an image without a page"
    watched = (
        "training images/s with a page",
        "training CPU ms an image with a page",
        "% of a core, lab",
        "% of a core, page",
    )
    for i in range(rounds):
        turns = [
            (alone, lambda i=i: train(folder / "runs" / f"alone-{i}")),
            (watched, lambda i=i: train_watched(browser, folder, f"watched-{i}")),
        ]
        for names, act in turns[:: 1 if i % 2 else -1]:
            note(names, act)
    return found


def main() -> None:
    """Measure, and print the median of each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write all rounds as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        found = measure(browser, Path(folder), options.rounds)
        browser.close()
    found["kB of the page"] = [sum(file.stat().st_size for file in PAGE.iterdir()) / 1000]
    for name, values in found.items():
        print(f"{name:40} {median(values):8.4g}    {', '.join(f'{value:.4g}' for value in values)}")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
