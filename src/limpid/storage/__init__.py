"""Files: checkpoints, logs, locks, downloads, hashes; each written completely or not at all."""
