"""Samples of a run: their weights, their guidance model and their seeds, also while the run saves new checkpoints."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from run_results import final_data, final_tensors
from tiny_recipes import CPU

from limpid.cli import evaluate as evaluate_command
from limpid.cli import sample as sample_command
from limpid.cli.main import main
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.schedules import Karras, sampling_levels
from limpid.evaluation.report_file import load_reports
from limpid.sampling.checkpoints import find_checkpoint
from limpid.sampling.pipeline import load, load_checkpoint
from limpid.storage import checkpoint

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_a_weaker_network_guides_sampling(finished: Path):
    strong, weak = load(finished, runtime=CPU, weights="raw"), load(finished, runtime=CPU)
    pipeline = strong.with_sampling(guidance=Guidance(3.0), guidance_model=str(finished))
    labels, level = torch.tensor([3, 8]), sampling_levels(Karras(), 5)[2]
    x = torch.randn(2, 1, 8, 8)
    guided = pipeline.denoiser([3, 8])(x, level)
    with torch.no_grad():
        x0, weak_x0 = strong.model(x, level, labels), weak.model(x, level, labels)
    torch.testing.assert_close(guided, x0 + 2 * (x0 - weak_x0))
    assert (x0 - weak_x0).abs().max() > 1e-5  # well above the tolerance of the line before
    strong.model.null_label = 9
    with pytest.raises(ValueError, match="the guidance model has 10 classes, and this one 9"):
        pipeline.denoiser([3, 8])(x, level)


def save_changed(folder: Path, images_seen: int) -> None:
    """Save a checkpoint with other EMA weights and other sampling options, as a run does that is still training."""
    data, tensors = final_data(folder), final_tensors(folder)
    data["recipe"]["sampling"]["steps"] = 7
    halved = {name: value * 0.5 if name.startswith("ema.") else value for name, value in tensors.items()}
    checkpoint.save_checkpoint(folder / "checkpoints", images_seen, halved, data | {"images_seen": images_seen})


@pytest.mark.parametrize("verb", ["sample", "evaluate"])
def test_options_and_weights_are_of_one_checkpoint_while_the_run_saves_others(
    verb: str, finished: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LIMPID_DATA", str(shared_cache))
    folder, results = shutil.copytree(finished, tmp_path / "run"), []
    command = {"sample": sample_command, "evaluate": evaluate_command}[verb]
    parse = command.parse

    def result_of(verb: str) -> object:
        options = (
            ["--n", "2", "--npz", "--overwrite"] if verb == "sample" else ["--n", "40", "--seed", str(len(results))]
        )
        assert main([verb, str(folder), *options, "--device", "cpu", "--precision", "float32"]) == 0
        if verb == "sample":
            return np.load(folder / "drawn" / "samples.npz")["images"].tolist()
        provenance = load_reports(folder / "scores.json")[-1].provenance
        return provenance["steps"], provenance["images seen"], provenance["weights sha256"]

    results.append(result_of(verb))

    def parse_while_the_run_saves(*args):
        options = parse(*args)
        save_changed(folder, 320)
        return options

    monkeypatch.setattr(command, "parse", parse_while_the_run_saves)
    results.append(result_of(verb))
    monkeypatch.setattr(command, "parse", parse)
    results.append(result_of(verb))
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_a_checkpoint_that_is_removed_or_replaced_after_it_was_found_is_refused(finished: Path, tmp_path: Path):
    folder = shutil.copytree(finished, tmp_path / "run")
    ref = find_checkpoint(folder)
    save_changed(folder, ref.about.images_seen)
    with pytest.raises(ValueError, match="has changed, since its run is still training"):
        load_checkpoint(ref, CPU)
    ref.file.unlink()
    with pytest.raises(ValueError, match="is gone: its run has saved newer ones, so repeat the command"):
        load_checkpoint(ref, CPU)


def test_all_samples_of_a_call_have_one_guidance_model_while_its_run_is_training(finished: Path, tmp_path: Path):
    guide, strong = shutil.copytree(finished, tmp_path / "guide"), load(finished, runtime=CPU, weights="raw")
    pipeline = strong.with_sampling(guidance=Guidance(3.0), guidance_model=str(guide))

    def samples(after_first=lambda: None) -> torch.Tensor:
        batches = pipeline.sample_batches([0, 1], [3, 8], batch_size=1)
        first = next(batches)
        after_first()
        return torch.cat([first, *batches])

    before = samples()
    assert torch.equal(samples(after_first=lambda: save_changed(guide, 320)), before)
    assert not torch.equal(samples(), before)  # a new call finds the newest


def test_a_sample_depends_only_on_its_own_seed(finished: Path):
    pipeline = load(finished, runtime=CPU)

    def samples(seeds: list[int], batch_size: int) -> torch.Tensor:
        labels = [seed % 10 for seed in seeds]
        return torch.cat(list(pipeline.sample_batches(seeds, labels, batch_size)))

    together, alone = samples([3, 4, 5, 6, 7], 5), samples([6], 1)
    assert (together[3].int() - alone[0].int()).abs().max() <= 1  # rounding differs with the size of the batch
    assert torch.equal(samples([3, 4, 5, 6, 7], 5), together)
    assert not torch.equal(together[0], together[1])


def test_ema_weights_are_sampled_unless_raw_ones_are_requested(finished: Path):
    ema, raw = load(finished, runtime=CPU).model, load(finished, runtime=CPU, weights="raw").model
    tensors = final_tensors(finished)
    assert all(torch.equal(value, tensors[f"ema.{name}"]) for name, value in ema.net.state_dict().items())
    assert all(torch.equal(value, tensors[f"model.{name}"]) for name, value in raw.net.state_dict().items())
    assert any(not torch.equal(a, b) for a, b in zip(ema.parameters(), raw.parameters(), strict=True))
