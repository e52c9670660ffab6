"""A few images as the files of sets that are published: CIFAR-100, SVHN (by SciPy) and STL-10."""

import io
import pickle

import numpy as np

PIXELS = np.random.default_rng(7).integers(256, size=(12, 32, 32, 3), dtype=np.uint8)
FINE, COARSE = np.arange(12) % 4, np.arange(12) % 2
FINE_NAMES, COARSE_NAMES = ("apple", "bear", "cup", "dolphin"), ("things", "animals")
PARTS = {"train": slice(0, 8), "test": slice(8, 12)}


STL10_PIXELS = np.random.default_rng(8).integers(256, size=(5, 96, 96, 3), dtype=np.uint8)
STL10_LABELS = np.array([1, 0, 2, 1, 0])
STL10_PARTS = {"train": slice(0, 3), "test": slice(3, 5)}


def planes(rows: slice) -> np.ndarray:
    return np.ascontiguousarray(PIXELS[rows].transpose(0, 3, 1, 2)).reshape(-1, 3072)


def cifar100_pickles() -> dict[str, bytes]:
    names = {b"fine_label_names": FINE_NAMES, b"coarse_label_names": COARSE_NAMES}
    files = {"meta": pickle.dumps({key: [name.encode() for name in value] for key, value in names.items()}, 4)}
    for split, rows in PARTS.items():
        labels = {b"fine_labels": FINE[rows].tolist(), b"coarse_labels": COARSE[rows].tolist()}
        files[split] = pickle.dumps({b"data": planes(rows), **labels}, 4)
    return files


def cifar100_records() -> dict[str, bytes]:
    files = {"fine_label_names.txt": "\n".join(FINE_NAMES).encode()}
    files["coarse_label_names.txt"] = "\n".join(COARSE_NAMES).encode()
    for split, rows in PARTS.items():
        records = np.concatenate([COARSE[rows, None], FINE[rows, None], planes(rows)], 1)
        files[f"{split}.bin"] = records.astype(np.uint8).tobytes()
    return files


CIFAR100 = {"cifar-100-python": cifar100_pickles, "cifar-100-binary": cifar100_records}


def mat(pixels: np.ndarray, labels: np.ndarray, packed: bool = True, **others: object) -> bytes:
    """A file as MATLAB writes it, by SciPy: images along the last axis."""
    from scipy.io import savemat

    file = io.BytesIO()
    values = {"X": pixels.transpose(1, 2, 3, 0), "y": labels.reshape(-1, 1), **others}
    savemat(file, values, do_compression=packed)
    return file.getvalue()


def svhn(rows: slice, packed: bool = True, dtype: str = "uint8", **others: object) -> bytes:
    return mat(PIXELS[rows], np.where(FINE == 0, 10, FINE)[rows].astype(dtype), packed, **others)


def stl10() -> dict[str, bytes]:
    files = {"class_names.txt": b"airplane\nbird\ncar\n"}
    for split, rows in STL10_PARTS.items():
        files[f"{split}_X.bin"] = STL10_PIXELS[rows].transpose(0, 3, 2, 1).tobytes()
        files[f"{split}_y.bin"] = (STL10_LABELS[rows] + 1).astype(np.uint8).tobytes()
    return files
