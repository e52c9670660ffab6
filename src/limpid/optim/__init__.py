"""What training needs besides mathematics: optimisers, averages, checkpoints, the log, randomness."""
