"""The errors by which backends report that memory has run out halve the batch; other errors do not."""

import errno

import pytest
import torch

from limpid.runtime.oom import find_executable_batch_size


def test_an_out_of_memory_error_of_a_cpu_is_detected():
    def work(size: int) -> int:
        return torch.empty(size << 56, dtype=torch.uint8).numel() if size > 3 else size

    assert find_executable_batch_size(work, 32) == (2, 2)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive"),
        RuntimeError("could not create a primitive descriptor for the matmul primitive"),
        RuntimeError("could not execute a primitive"),
        RuntimeError("std::bad_alloc"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("HIP out of memory. Tried to allocate 20.00 MiB"),
        MemoryError("Unable to allocate 8.00 GiB for an array"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_an_out_of_memory_error_of_any_backend_halves_the_batch(error: Exception):
    def work(size: int) -> int:
        if size > 3:
            raise error
        return size

    assert find_executable_batch_size(work, 32) == (2, 2)


def test_an_out_of_memory_error_without_a_message_is_detected():
    def work(size: int) -> int:
        if size > 5:
            raise MemoryError
        return size

    assert find_executable_batch_size(work, 20) == (5, 5)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("CUDA error: device-side assert triggered")],
)
def test_an_error_of_a_disk_or_a_kernel_is_not_out_of_memory(error: Exception):
    def work(size: int) -> int:
        raise error

    with pytest.raises(type(error), match=str(error.args[-1])):
        find_executable_batch_size(work, 32)


def test_an_error_of_shapes_is_not_out_of_memory():
    def work(size: int) -> torch.Tensor:
        return torch.ones(2) @ torch.ones(3)

    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        find_executable_batch_size(work, 4)
