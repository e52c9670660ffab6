import errno
import math
import os
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.cuda._utils import _get_device_index
from torch.testing import assert_close

from limpid.optim.ema import Ema, update_ema
from limpid.optim.optimizers import AdamW, Muon, lr_at
from limpid.runtime.device import Runtime
from limpid.runtime.rng import generator, seed_for
from limpid.storage import checkpoint, jsonl
from limpid.training.meter import LossMeter
from limpid.training.optimizer_state import optimizer_tensors, restore_optimizer


def test_equal_addresses_draw_alike_and_others_do_not():
    draws = [
        torch.rand(4, generator=generator("cpu", *parts))
        for parts in [(1, "noise", 2), (1, "noise", 2), (1, "noise", 3)]
    ]
    assert_close(draws[0], draws[1], rtol=0, atol=0)
    assert not torch.equal(draws[0], draws[2])


def test_an_address_is_not_the_words_run_together():
    assert seed_for(1, 23) != seed_for(12, 3)
    assert seed_for("1") != seed_for(1)


@pytest.mark.parametrize("kind", [AdamW, Muon])
@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_the_rate_rises_then_falls(decay, kind: type[AdamW] | type[Muon]):
    optimizer = kind(lr=1.0, warmup_images=100, lr_schedule=decay)
    rates = [lr_at(optimizer, seen, 1000) for seen in range(1, 1001)]
    assert rates[49] == pytest.approx(0.5, rel=0.1)
    assert max(rates) <= 1.0
    assert rates[-1] == pytest.approx(1.0 if decay == "none" else 0.0)
    assert all(a >= b for a, b in pairwise(rates[100:]))


def test_ten_thousand_batches_at_half_life_are_ddpms_average():
    assert Ema(halflife=887_000.0, rampup_ratio=0).decay(10**9, 128) == pytest.approx(0.9999, abs=1e-7)


def test_the_average_forgets_half_in_a_half_life():
    average, weights = [torch.ones(1)], [torch.zeros(1)]
    for step in range(10):
        update_ema(average, weights, Ema(halflife=640.0, rampup_ratio=0).decay(64 * (step + 1), 64))
    assert average[0].item() == pytest.approx(0.5)


def test_the_average_soon_forgets_the_start():
    average, weights, ema = [torch.ones(1)], [torch.zeros(1)], Ema(halflife=887_000.0)
    for step in range(100):
        update_ema(average, weights, ema.decay(128 * (step + 1), 128))
    assert average[0].item() < 1e-6


def test_an_unknown_device_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"no device 'gpu' here: choose from .*cpu"):
        Runtime("gpu").resolve()


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:1", 1)])
def test_a_gpu_is_the_current_device_whether_it_has_a_number_or_not(device: str, index: int, monkeypatch):
    current = []
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.append(_get_device_index(device)))
    benchmark = torch.backends.cudnn.benchmark
    try:
        chosen = Runtime(device).resolve()
        assert (chosen.device, current) == (device, [])  # to choose changes nothing
        chosen.setup()
    finally:
        torch.backends.cudnn.benchmark = benchmark
    assert current == [index]


def test_a_checkpoint_gives_back_tensors_and_data(tmp_path: Path):
    tensors = {"a.w": torch.randn(3, 4, 2, 2).to(memory_format=torch.channels_last), "b.w": torch.arange(3)}
    path = checkpoint.save_checkpoint(tmp_path, 128, tensors, {"images_seen": 128, "class_names": ["cat"]})
    assert checkpoint.latest(tmp_path) == path
    assert checkpoint.read_data(path) == {"images_seen": 128, "class_names": ["cat"]}
    assert_close(checkpoint.read_tensors(path), {name: value.contiguous() for name, value in tensors.items()})
    assert list(checkpoint.read_tensors(path, "b.")) == ["w"]


def test_only_the_last_checkpoints_stay(tmp_path: Path):
    for seen in (10, 20, 30, 40):
        checkpoint.save_checkpoint(tmp_path, seen, {"w": torch.zeros(1)}, {})
    assert [int(path.stem) for path in checkpoint.list_checkpoints(tmp_path)] == [30, 40]
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(100)])
def test_a_broken_checkpoint_is_one_clear_line(tmp_path: Path, content: bytes):
    path = tmp_path / "1.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not an intact checkpoint of limpid"):
        checkpoint.read_data(path)


@pytest.mark.parametrize(
    ("keep", "left"),
    [(1, [150]), (2, [150, 300]), (3, [150, 200, 300]), (0, [100, 150, 200, 300])],
)
def test_a_checkpoint_that_was_just_written_stays_though_there_are_later_ones(
    keep: int, left: list[int], tmp_path: Path
):
    for seen in (100, 200, 300):
        checkpoint.save_checkpoint(tmp_path, seen, {"w": torch.zeros(1)}, {}, keep=0)
    assert checkpoint.save_checkpoint(tmp_path, 150, {"w": torch.ones(1)}, {}, keep=keep).exists()
    assert [int(path.stem) for path in checkpoint.list_checkpoints(tmp_path)] == left


@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_an_optimiser_goes_on_where_it_was(kind: type[AdamW] | type[Muon]):
    def steps(parameters: list[torch.Tensor], optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
        for step in range(first, last):
            for index, parameter in enumerate(parameters):
                parameter.grad = torch.randn(parameter.shape, generator=generator("cpu", step, index))
            optimizer.step()

    def fresh() -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
        kernel = torch.ones(4, 3, 3, 3).to(memory_format=torch.channels_last)
        parameters = [kernel.requires_grad_(), torch.ones(4, requires_grad=True)]
        return parameters, kind().build(parameters)

    straight, optimizer = fresh()
    steps(straight, optimizer, 0, 6)
    stopped, optimizer = fresh()
    steps(stopped, optimizer, 0, 3)
    resumed, again = fresh()
    for new, old in zip(resumed, stopped, strict=True):
        new.data.copy_(old.data)
    restore_optimizer(again, optimizer_tensors(optimizer))
    steps(resumed, again, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))


def test_the_log_is_cut_where_a_run_goes_on(tmp_path: Path):
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    for seen in (10, 20, 30):
        log.add({"images_seen": seen})
    with log.path.open("a") as file:
        file.write('{"images_seen": 4')
    log.cut(20)
    assert log.lines() == jsonl.read_jsonl(log.path) == [{"images_seen": 10}, {"images_seen": 20}]


@pytest.mark.parametrize(
    "damage",
    [
        *(
            b'{"images_seen": 30',
            b"\0" * 20,
            b"\0" * 20 + b"\n",
            b"[]\n",
            b"\xff\n",
            b'{"loss": 1}\n',
            b"[" * 9999 + b"\n",
        ),
        *(
            b'{"images_seen": 30, "loss": "1"}\n',
            b'{"images_seen": 30, "loss": null}\n',
            b'{"images_seen": true}\n',
            b'{"images_seen": 3e1}\n',
        ),
        *(
            b'{"images_seen": 30, "lo3s": 1, "rate": 1}\n',
            b'{"images_seen": 30, "loss": 1, "loss_by_logsnr": {"6..": []}}\n',
        ),
        b'{"images_seen": 30, "loss": ' + b"9" * 400 + b"}\n",
    ],
)
def test_damaged_lines_of_a_log_are_skipped(damage: bytes, tmp_path: Path):
    """As after a power cut, when the disk has less than was written to it."""
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    log.add({"images_seen": 10})
    with log.path.open("ab") as file:
        file.write(damage)
    assert jsonl.read_jsonl(log.path) == log.lines() == [{"images_seen": 10}]


def test_a_flipped_bit_in_the_log_costs_no_other_line(tmp_path: Path, capsys):
    lines = [{"images_seen": seen, "loss": 0.5, "loss_by_logsnr": {"6..": 1.5}} for seen in (10, 20, 30)]
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    for line in lines:
        log.add(line)
    content = log.path.read_bytes()
    first, second = (content.index(b'{"images_seen": ' + number) for number in (b"20", b"30"))
    for place in range(first, second - 1):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            log.path.write_bytes(damaged)
            remaining = log.lines()
            assert (remaining[0], remaining[-1]) == (lines[0], lines[2])
    log.path.write_bytes(content.replace(b'{"images_seen": 20', b'["images_seen": 20'))
    log.cut(30)
    assert jsonl.read_jsonl(log.path) == [lines[0], lines[2]]
    assert (tmp_path / "log.jsonl.aside").read_bytes() == content[first:second].replace(b"{", b"[", 1)
    assert capsys.readouterr().err == (
        f"limpid: {log.path} is damaged in line 2: moved to log.jsonl.aside; all other lines are intact\n"
    )


def test_lines_that_wait_for_the_disk_survive_a_going_back(tmp_path: Path, monkeypatch):
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")
    log.add({"images_seen": 10})

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(jsonl, "append", refuse)
        patch.setattr(jsonl, "durable_write", refuse)
        for act in (lambda: log.add({"images_seen": 20}), lambda: log.add({"images_seen": 30}), lambda: log.cut(20)):
            with pytest.raises(OSError, match="No space left"):
                act()
        log.sync()
    assert log.lines() == [{"images_seen": 10}, {"images_seen": 20}]
    log.add({"images_seen": 25})
    assert jsonl.read_jsonl(log.path) == log.lines() == [{"images_seen": 10}, {"images_seen": 20}, {"images_seen": 25}]


def test_lines_that_wait_are_written_before_a_checkpoint(tmp_path: Path, monkeypatch):
    log = jsonl.JsonlLog(tmp_path / "log.jsonl")

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(OSError, match="No space left"):
            log.add({"images_seen": 10})
    log.sync()
    assert jsonl.read_jsonl(log.path) == [{"images_seen": 10}]


def test_the_meter_tells_the_mean_and_starts_anew():
    meter = LossMeter("cpu")
    one = torch.ones(1)
    meter.add(torch.tensor([1.0, 2.0]), torch.ones(2), torch.zeros(2))
    meter.add(torch.tensor([6.0]), one, 0 * one)
    assert meter.read().loss == 3
    meter.add(torch.tensor([math.inf]), one, 0 * one)
    assert meter.read().loss == math.inf


def test_the_meter_tells_the_losses_by_level():
    meter = LossMeter("cpu")
    # Levels that are sampled twice as often as others count half: each part's mean is that of its own losses.
    rarity, losses = torch.tensor([0.5, 0.5, 1.0, 2.0]), torch.tensor([1.0, 3.0, 5.0, math.inf])
    meter.add(losses * rarity, rarity, torch.tensor([-math.inf, -7.0, 3.0, math.inf], dtype=torch.float64))
    assert meter.read().parts == {"..-6": 2.0, "2..6": 5.0, "6..": math.inf}
    assert meter.total.count_nonzero() == 0
