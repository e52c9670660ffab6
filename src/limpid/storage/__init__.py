"""Files: checkpoints, logs, locks, downloads, hashes; each written whole or not at all."""
