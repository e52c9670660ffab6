"""Mean and covariance in the usual file format of FID tools: a NumPy archive with the arrays `mu` and `sigma`."""

from pathlib import Path
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import torch

from limpid.metrics.moments import Statistics
from limpid.storage.atomic import atomic_write
from limpid.storage.regular_files import require_regular

MAX_ARRAY_BYTES = 1 << 29
"""Largest array in bytes that is read: a covariance of 8,192 features in float64."""


def save_stats(path: Path | str, statistics: Statistics) -> Path:
    """Write `mu` and `sigma` in float64, atomically. Raises ValueError unless the path ends in .npz."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(
            f"statistics are saved as NumPy archives: expected a path that ends in .npz, not {str(path)!r}"
        )
    with atomic_write(path) as part, part.open("wb") as file:
        np.savez(file, mu=statistics.mean.numpy(), sigma=statistics.covariance.numpy())
    return path


def load_stats(path: Path | str) -> Statistics:
    """The statistics in an archive, in float64; other arrays are ignored, and pickled objects are never loaded.

    Raises ValueError if it cannot be read, or `mu` and `sigma` are not a mean and a covariance.
    """
    try:
        require_regular(path)
        _require_small(path)
        with Path(path).open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            names = archive.files if isinstance(archive, np.lib.npyio.NpzFile) else []
            missing = [name for name in ("mu", "sigma") if name not in names]
            if missing:
                found = ", ".join(names) or "no named arrays"
                raise ValueError(f"it has no {' and no '.join(missing)}, but {found}")
            return statistics_from(archive["mu"], archive["sigma"])
    except FileNotFoundError as error:
        raise ValueError(f"no file at {path}: expected an .npz with the statistics mu and sigma") from error
    except (OSError, EOFError, BadZipFile, ValueError, MemoryError) as error:
        raise ValueError(f"{path} holds no statistics, expected the arrays mu and sigma: {error}") from error


def _require_small(path: Path | str) -> None:
    """Raise ValueError if an archive declares an array larger than MAX_ARRAY_BYTES."""
    if not is_zipfile(path):
        return
    with ZipFile(path) as archive:
        if large := [info.filename for info in archive.infolist() if info.file_size > MAX_ARRAY_BYTES]:
            raise ValueError(f"its {large[0][:80]} is longer than {MAX_ARRAY_BYTES:,} bytes")


def statistics_from(mean: np.ndarray, covariance: np.ndarray) -> Statistics:
    """Statistics from arrays. Raises ValueError unless both are finite, their shapes match, and sigma is symmetric."""
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise ValueError(f"mu has the shape {mean.shape} and sigma {covariance.shape}: expected (d,) and (d, d)")
    if mean.dtype.kind != "f" or covariance.dtype.kind != "f":
        raise ValueError(f"mu is {mean.dtype} and sigma {covariance.dtype}: expected floating point")
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError("mu or sigma has values that are not finite")
    # Sums in float32 differ by about 1e-6 above and below the diagonal.
    if np.abs(covariance - covariance.T).max(initial=0) > 1e-4 * np.abs(covariance).max(initial=0):
        raise ValueError("sigma is not symmetric")
    if (covariance.diagonal() < 0).any():
        raise ValueError("sigma has a negative variance")
    return Statistics(torch.from_numpy(mean), torch.from_numpy((covariance + covariance.T) / 2))
