"""Jobs: their files, what those refer to, where results and checkpoints go."""
