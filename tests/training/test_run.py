"""A run: it can be stopped anywhere, and nobody can tell afterwards."""

import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recipes import CPU, FULL, TINY

from limpid.cli import evaluate as evaluate_command
from limpid.cli import sample as sample_command
from limpid.cli.main import main
from limpid.data import Folder
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.schedules import Karras, sampling_levels
from limpid.evaluation.report_file import load_reports
from limpid.recipes.recipe import Recipe
from limpid.sampling.checkpoints import find_checkpoint
from limpid.sampling.pipeline import load, load_checkpoint
from limpid.storage import checkpoint, jsonl
from limpid.training.loss_log import LossLog
from limpid.training.run import run
from limpid.training.run_folder import failure_recorded
from limpid.training.state import init_state

pytestmark = pytest.mark.usefixtures("no_final_figures")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    file = checkpoint.latest(folder / "checkpoints")
    assert file is not None
    return checkpoint.read_tensors(file)


def same_weights(one: Path, other: Path) -> bool:
    """Whether all tensors of one run's newest checkpoint are those of another's, to the bit."""
    expected = weights(other)
    return all(torch.equal(value, expected[name]) for name, value in weights(one).items())


def log(folder: Path) -> list[dict[str, float]]:
    """The log without what depends on the clock."""
    return [
        {k: v for k, v in line.items() if k != "images_per_second"} for line in jsonl.read_jsonl(folder / "log.jsonl")
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "straight"
    assert run(FULL, folder, CPU)
    return folder


def stop_after(lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C when the log has so many lines."""
    written = LossLog.write_line

    def tell_and_stop(self: LossLog, step):
        result = written(self, step)
        if len(jsonl.read_jsonl(self.run.folder / "log.jsonl")) == lines:
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(LossLog, "write_line", tell_and_stop)


@pytest.mark.parametrize("lines", [1, 2, 4])
def test_stopping_and_going_on_changes_no_bit(lines: int, finished: Path, tmp_path: Path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_after(lines, patch)
        assert not run(FULL, tmp_path, CPU)
    assert "images, and saved" in capsys.readouterr().out
    assert [int(path.stem) for path in checkpoint.list_checkpoints(tmp_path / "checkpoints")][-1] == 32 * lines
    assert run(FULL, tmp_path, CPU)
    straight, resumed = weights(finished), weights(tmp_path)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert log(tmp_path) == log(finished)


def test_going_on_from_an_older_checkpoint_changes_no_bit(finished: Path, tmp_path: Path):
    """As after a power cut: the log is ahead of the last checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(4, patch)
        run(FULL, tmp_path, CPU)
    newest = checkpoint.latest(tmp_path / "checkpoints")
    assert newest is not None
    newest.unlink()
    assert len(log(tmp_path)) == 4
    assert run(FULL, tmp_path, CPU)
    assert same_weights(tmp_path, finished)
    assert log(tmp_path) == log(finished)


def test_a_run_leaves_all_it_promises(finished: Path):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        *("recipe.json", "environment.json", "data.json", "log.jsonl", "checkpoints", "samples", "snapshots"),
        *("samples.png", "denoising.webp", "forward.png", "loss.png", "lock"),
    }
    assert [path.name for path in sorted((finished / "samples").iterdir())] == ["000000000080.png", "000000000160.png"]
    assert [line["images_seen"] for line in log(finished)] == [32, 64, 96, 128, 160]
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__


def test_another_recipe_is_refused_in_the_folder_of_a_run(finished: Path):
    with pytest.raises(
        ValueError, match=r"another recipe \(batch_size 16 -> 8, schedule.mean -1.2 -> 0.0\): name another"
    ):
        run(replace(FULL, batch_size=8, schedule=replace(FULL.schedule, mean=0.0)), finished, CPU)


def test_a_run_does_not_go_on_where_its_labels_mean_other_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "kept"))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), np.uint8)

    def of(*names: str, images: int = 16, conditional: bool = True) -> Recipe:
        np.savez(tmp_path / "a.npz", images=pixels, labels=np.arange(32) % len(names), class_names=np.array(names))
        data = Folder(str(tmp_path / "a.npz"), size=8, channels="L", held_out=0)
        sampling = TINY.sampling if conditional else replace(TINY.sampling, guidance=Guidance())
        constant = replace(TINY.optimizer, lr_schedule="none")
        return replace(
            TINY,
            data=data,
            duration=images,
            batch_size=16,
            optimizer=constant,
            class_conditional=conditional,
            sampling=sampling,
        )

    assert run(of("cat", "dog", "emu"), tmp_path / "run", CPU)
    for names, message in (
        (("cat", "doe", "emu"), "was trained with 3 classes, and the data has 3: class 1 was 'dog' and is 'doe'"),
        (("dog", "cat", "emu"), "was trained with 3 classes, and the data has 3: class 0 was 'cat' and is 'dog'"),
        (("cat", "dog"), "was trained with 3 classes, and the data has 2: class 2 was 'emu' and is none"),
        (("cat", "dog", "emu", "fox"), "was trained with 3 classes, and the data has 4: class 3 was none and is 'fox'"),
    ):
        with pytest.raises(ValueError, match=message):
            run(of(*names, images=32), tmp_path / "run", CPU)
    assert run(of("cat", "dog", "emu", images=32), tmp_path / "run", CPU)
    assert run(of("cat", "dog", conditional=False), tmp_path / "unconditional", CPU)
    assert run(of("cat", "emu", images=32, conditional=False), tmp_path / "unconditional", CPU)


def test_a_run_at_a_constant_learning_rate_is_made_longer_and_no_bit_differs(tmp_path: Path):
    constant = replace(FULL, duration=96, optimizer=replace(FULL.optimizer, lr_schedule="none"))
    assert run(constant, tmp_path / "twice", CPU)
    for folder in ("once", "twice"):
        assert run(replace(constant, duration=128), tmp_path / folder, CPU)
    assert [line["images_seen"] for line in log(tmp_path / "twice")] == [32, 64, 96, 128]
    once, twice = weights(tmp_path / "once"), weights(tmp_path / "twice")
    assert all(torch.equal(once[name], twice[name]) for name in once)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_decayed_run_is_made_longer_only_where_its_jump_in_learning_rate_is_allowed(decay, tmp_path: Path):
    short = replace(FULL, duration=64, optimizer=replace(FULL.optimizer, lr_schedule=decay))
    longer = replace(short, duration=128)
    run(short, tmp_path, CPU)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(ValueError, match=r"planned for 64 images.* jump from 0 to 0.01 after 64: .*--allow-rewarm"):
        run(longer, tmp_path, CPU)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before
    assert run(longer, tmp_path, CPU, allow_rewarm=True)
    assert run(longer, tmp_path, CPU)  # it is a run of so many images now
    assert [line["images_seen"] for line in log(tmp_path)] == [32, 64, 96, 128]


def test_a_run_that_has_learnt_nothing_yet_is_made_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(replace(FULL, duration=32), tmp_path, CPU)
    for file in checkpoint.list_checkpoints(tmp_path / "checkpoints")[1:]:
        file.unlink()
    assert run(replace(FULL, duration=64), tmp_path, CPU)


def test_training_lowers_the_loss(finished: Path):
    losses = [line["loss"] for line in log(finished)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_saved_ema_is_reconstructed_after_the_run(finished: Path, tmp_path: Path):
    folder = shutil.copytree(finished, tmp_path / "run")
    assert main(["posthoc-ema", str(folder), "--std", "0.1"]) == 0
    (built,) = (folder / "averages" / "0.100").glob("*.safetensors")
    tracked = {name.removeprefix("power1."): value for name, value in weights(finished).items() if "power1." in name}
    for name, value in checkpoint.read_tensors(built, "ema.").items():
        torch.testing.assert_close(
            value.float(), tracked[name], rtol=2e-3, atol=2e-3
        )  # they are kept in half precision
    assert load(built, runtime=CPU).image_shape == (1, 8, 8)


def test_averages_that_are_built_at_once_are_each_built(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, write = shutil.copytree(finished, tmp_path / "run"), checkpoint._write

    def slowly(*what) -> None:
        write(*what)
        time.sleep(0.3)

    monkeypatch.setattr(checkpoint, "_write", slowly)
    with ThreadPoolExecutor() as together:
        assert list(together.map(lambda _: main(["posthoc-ema", str(folder)]), range(2))) == [0, 0]
    (built,) = (folder / "averages" / "0.100").iterdir()
    checkpoint.verify(built)


def test_a_weaker_network_can_guide(finished: Path):
    strong, weak = load(finished, runtime=CPU, weights="raw"), load(finished, runtime=CPU)
    pipeline = strong.with_sampling(guidance=Guidance(3.0), guidance_model=str(finished))
    labels, level = torch.tensor([3, 8]), sampling_levels(Karras(), 5)[2]
    x = torch.randn(2, 1, 8, 8)
    guess = pipeline.denoiser([3, 8])(x, level)
    with torch.no_grad():
        one, other = strong.model(x, level, labels), weak.model(x, level, labels)
    torch.testing.assert_close(guess, one + 2 * (one - other))
    assert (one - other).abs().max() > 1e-5  # well above the tolerance of the line before
    strong.model.null_label = 9
    with pytest.raises(ValueError, match="the guidance model has 10 classes, and this one 9"):
        pipeline.denoiser([3, 8])(x, level)


def save_another(folder: Path, seen: int) -> Path:
    """A checkpoint with other weights and other sampling, as a run saves it meanwhile."""
    file = checkpoint.latest(folder / "checkpoints")
    assert file is not None
    data, tensors = checkpoint.read_data(file), checkpoint.read_tensors(file)
    data["recipe"]["sampling"]["steps"] = 7
    halved = {name: value * 0.5 if name.startswith("ema.") else value for name, value in tensors.items()}
    return checkpoint.save_checkpoint(folder / "checkpoints", seen, halved, data | {"images_seen": seen})


@pytest.mark.parametrize("verb", ["sample", "evaluate"])
def test_options_and_weights_are_of_one_checkpoint_though_the_run_saves_meanwhile(
    verb: str, finished: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LIMPID_DATA", str(shared_cache))
    folder, results = shutil.copytree(finished, tmp_path / "run"), []
    place = {"sample": sample_command, "evaluate": evaluate_command}[verb]
    parse = place.parse

    def result_of(verb: str) -> object:
        n = ["--n", "2", "--npz", "--overwrite"] if verb == "sample" else ["--n", "40", "--seed", str(len(results))]
        assert main([verb, str(folder), *n, "--device", "cpu", "--precision", "float32"]) == 0
        if verb == "sample":
            return np.load(folder / "drawn" / "samples.npz")["images"].tolist()
        told = load_reports(folder / "scores.json")[-1].provenance
        return told["steps"], told["images seen"], told["weights sha256"]

    results.append(result_of(verb))

    def parse_slowly(*what):
        options = parse(*what)
        save_another(folder, 320)
        return options

    monkeypatch.setattr(place, "parse", parse_slowly)
    results.append(result_of(verb))
    monkeypatch.setattr(place, "parse", parse)
    results.append(result_of(verb))
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_a_checkpoint_that_goes_or_is_another_after_it_was_found_is_refused(finished: Path, tmp_path: Path):
    folder = shutil.copytree(finished, tmp_path / "run")
    ref = find_checkpoint(folder)
    save_another(folder, ref.about.images_seen)
    with pytest.raises(ValueError, match="has changed, since its run is still training"):
        load_checkpoint(ref, CPU)
    ref.file.unlink()
    with pytest.raises(ValueError, match="is gone: its run has saved newer ones, so repeat the command"):
        load_checkpoint(ref, CPU)


def test_all_samples_of_a_command_have_one_guide_though_its_run_is_training(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    guide, strong = shutil.copytree(finished, tmp_path / "guide"), load(finished, runtime=CPU, weights="raw")
    pipeline = strong.with_sampling(guidance=Guidance(3.0), guidance_model=str(guide))

    def result_of(then=lambda: None) -> torch.Tensor:
        batches = pipeline.sample_batches([0, 1], [3, 8], batch_size=1)
        first = next(batches)
        then()
        return torch.cat([first, *batches])

    before = result_of()
    assert torch.equal(result_of(then=lambda: save_another(guide, 320)), before)
    assert not torch.equal(result_of(), before)  # a new call finds the newest


def test_a_image_depends_on_its_own_seed_alone(finished: Path):
    pipeline = load(finished, runtime=CPU)

    def result_of(seeds: list[int], batch: int) -> torch.Tensor:
        labels = [seed % 10 for seed in seeds]
        return torch.cat(list(pipeline.sample_batches(seeds, labels, batch)))

    together, alone = result_of([3, 4, 5, 6, 7], 5), result_of([6], 1)
    assert (together[3].int() - alone[0].int()).abs().max() <= 1  # rounding differs with the size of the batch
    assert torch.equal(result_of([3, 4, 5, 6, 7], 5), together)
    assert not torch.equal(together[0], together[1])


def test_ema_weights_are_sampled_unless_raw_ones_are_requested(finished: Path):
    average, last = load(finished, runtime=CPU).model, load(finished, runtime=CPU, weights="raw").model
    tensors = weights(finished)
    assert all(torch.equal(value, tensors[f"ema.{name}"]) for name, value in average.net.state_dict().items())
    assert all(torch.equal(value, tensors[f"model.{name}"]) for name, value in last.net.state_dict().items())
    assert any(not torch.equal(a, b) for a, b in zip(average.parameters(), last.parameters(), strict=True))


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "limpid",
        "train",
        "demo",
        "--run",
        str(tmp_path),
        "--batch-size",
        "8",
        "--every.log",
        "8",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "images/s" not in process.stdout.readline():
        assert process.poll() is None, "the run ended before it had logged anything"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "images, and saved" in rest
    assert rest.endswith(f"to resume: limpid train {tmp_path}\n")
    assert checkpoint.latest(tmp_path / "checkpoints") is not None


def test_the_record_of_a_failure_is_removed_when_training_goes_on(tmp_path: Path):
    record = tmp_path / "failure.json"
    with pytest.raises(RuntimeError), failure_recorded(tmp_path):
        raise RuntimeError("two\nlines")
    assert json.loads(record.read_text())["error"] == "two lines"
    with failure_recorded(tmp_path):
        assert not record.exists()
    assert not record.exists()


def test_a_run_that_is_asked_to_stop_before_its_first_step_saves_and_lets_its_folder_go(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(
        "limpid.training.run.init_state", lambda *args: (signal.raise_signal(signal.SIGTERM), init_state(*args))[1]
    )
    assert not run(TINY, tmp_path, CPU)
    assert (tmp_path / "lock").read_text() == ""
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
