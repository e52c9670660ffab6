"""Files of statistics are exchanged with other programs, and a file without statistics is refused in one line."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from limpid.metrics.moments import Moments
from limpid.metrics.stats_file import load_stats, save_stats

MU, SIGMA = np.arange(3.0), np.cov(np.random.default_rng(0).normal(size=(20, 3)), rowvar=False)


def test_saved_statistics_load_bit_for_bit(tmp_path):
    statistics = Moments.of(torch.randn(50, 6)).statistics
    assert_close(load_stats(save_stats(tmp_path / "new" / "a.npz", statistics)), statistics, rtol=0, atol=0)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.npz"]


def test_numpy_reads_saved_statistics(tmp_path):
    statistics = Moments.of(torch.randn(50, 6)).statistics
    with np.load(save_stats(tmp_path / "a.npz", statistics)) as archive:
        assert set(archive.files) == {"mu", "sigma"}
        assert archive["mu"].dtype == archive["sigma"].dtype == np.float64
        assert (archive["sigma"] == statistics.covariance.numpy()).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_files_of_other_programs_are_read_and_other_arrays_ignored(tmp_path, dtype, save):
    save(tmp_path / "a.npz", mu=MU.astype(dtype), sigma=SIGMA.astype(dtype), arr_0=np.zeros(2, np.uint8))
    found = load_stats(tmp_path / "a.npz")
    assert found.mean.dtype == found.covariance.dtype == torch.float64
    assert_close(found.covariance.numpy(), SIGMA, rtol=np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": MU}, "it has no sigma, but mu"),
        ({"features": MU}, "it has no mu and no sigma, but features"),
        ({"mu": MU[None], "sigma": SIGMA}, r"mu has the shape \(1, 3\)"),
        ({"mu": MU[:2], "sigma": SIGMA}, r"sigma \(3, 3\): expected"),
        ({"mu": MU, "sigma": SIGMA.astype(int)}, "expected floating point"),
        ({"mu": MU * np.nan, "sigma": SIGMA}, "not finite"),
        ({"mu": MU, "sigma": SIGMA * np.inf}, "not finite"),
        ({"mu": MU, "sigma": SIGMA + np.triu(np.ones((3, 3)), 1)}, "not symmetric"),
        ({"mu": MU, "sigma": -np.eye(3)}, "negative variance"),
        ({"mu": np.array([print] * 3), "sigma": SIGMA}, "allow_pickle=False"),
    ],
    ids=lambda value: value[:22] if isinstance(value, str) else "",
)
def test_arrays_that_are_not_a_mean_and_a_covariance_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        load_stats(tmp_path / "a.npz")
    assert str(error.value).startswith(f"{tmp_path / 'a.npz'} holds no statistics, expected the arrays mu and sigma: ")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_files_that_are_not_archives_are_refused(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="holds no statistics"):
        load_stats(path)


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", SIGMA)
    with pytest.raises(ValueError, match="no named arrays"):
        load_stats(tmp_path / "a.npy")


def test_statistics_are_written_as_npz_only(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        save_stats(tmp_path / "a.txt", Moments.of(torch.randn(50, 6)).statistics)


def test_a_missing_file_of_statistics_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"no file at .*absent\.npz: expected an \.npz with the statistics mu and sigma"
    ):
        load_stats(tmp_path / "absent.npz")
