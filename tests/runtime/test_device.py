"""The device and the micro-batch of a runtime."""

import pytest
import torch
from torch.cuda._utils import _get_device_index

from limpid.runtime.device import Runtime, TrainingRuntime


def test_a_negative_micro_batch_is_refused():
    with pytest.raises(ValueError, match=r"--micro-batch -1: expected a number of images"):
        TrainingRuntime("cpu", micro_batch=-1).resolve()


def test_an_unknown_device_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"no device 'gpu' here: choose from .*cpu"):
        Runtime("gpu").resolve()


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:1", 1)])
def test_setup_makes_the_gpu_the_current_device_with_and_without_a_number(device: str, index: int, monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(_get_device_index(device)))
    benchmark = torch.backends.cudnn.benchmark
    try:
        runtime = Runtime(device).resolve()
        assert (runtime.device, calls) == (device, [])  # resolve sets nothing
        runtime.setup()
    finally:
        torch.backends.cudnn.benchmark = benchmark
    assert calls == [index]
