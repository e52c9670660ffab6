"""Files: checkpoints, logs, locks, downloads, hashes; each written completely or not at all."""

__all__ = [
    "atomic",
    "checkpoint",
    "chunk_cache",
    "download",
    "hashing",
    "hub",
    "jsonl",
    "lock",
    "posthoc_ema",
    "regular_files",
    "renamed",
]
