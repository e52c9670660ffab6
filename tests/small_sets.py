"""The same few labelled images as sets in the forms that are read, made by other libraries than the readers."""

import gzip
import io
import tarfile
from collections.abc import Callable

import numpy as np
from PIL import Image

PIXELS = np.random.default_rng(5).integers(256, size=(12, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(12) // 4


def png(index: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS[index]).save(file, "PNG")
    return file.getvalue()


def parquet(compression: str = "snappy", rows: range = range(12)) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = pa.array(
        [{"bytes": png(i), "path": None} for i in rows],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    file = io.BytesIO()
    pq.write_table(pa.table({"image": images, "label": LABELS[rows]}), file, compression=compression, row_group_size=5)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def hdf5(before: int = 0, /, **arrays: np.ndarray) -> bytes:
    """A file of HDF5, which begins after so many bytes."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=before) as sets:
        for name, array in arrays.items():
            sets.create_dataset(name, data=array, compression="gzip")
    return file.getvalue()


def tar(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, blob in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(blob)
            archive.addfile(entry, io.BytesIO(blob))
    return file.getvalue()


def class_folders() -> dict[str, bytes]:
    return {f"class{label}/{i:02d}.png": png(i) for i, label in enumerate(LABELS)}


def shard(rows: range) -> dict[str, bytes]:
    """The files of a shard of webdataset."""
    pairs = [((f"{i:04d}.png", png(i)), (f"{i:04d}.cls", b"%d" % LABELS[i])) for i in rows]
    return dict(each for pair in pairs for each in pair)


SPLITS = {
    "train_images": PIXELS[:8],
    "train_labels": LABELS[:8, None].astype(np.uint8),
    "test_images": PIXELS[8:],
    "test_labels": LABELS[8:, None].astype(np.uint8),
}

SETS: dict[str, Callable[[], bytes]] = {
    "parquet": parquet,
    "uncompressed parquet": lambda: parquet("none"),
    "npz of splits": lambda: npz(**SPLITS),
    "npz of floats": lambda: npz(x=(PIXELS / 255).astype(np.float32), y=np.eye(3)[LABELS]),
    "npy": lambda: npy(PIXELS),
    "idx": lambda: idx(PIXELS[..., 0]),
    "idx.gz": lambda: gzip.compress(idx(PIXELS[..., 0])),
    "tar": lambda: tar(class_folders()),
    "tar.gz": lambda: gzip.compress(tar(class_folders()), 1),
    "webdataset": lambda: tar(shard(range(12))),
    "hdf5": lambda: hdf5(images=PIXELS, labels=LABELS),
}
