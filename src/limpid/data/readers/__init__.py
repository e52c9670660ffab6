"""Readers: from files, archives and arrays as people have them to uint8 images."""

__all__ = [
    "cifar10_files",
    "decode",
    "fit",
    "formats",
    "label_values",
    "labels",
    "listing",
    "messages",
    "npz",
    "pack",
    "packed",
    "parquet",
    "row_names",
    "safe_pickle",
    "scan",
    "values",
    "zip_files",
]
