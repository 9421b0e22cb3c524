"""Training runs: their options, starting and resuming them, and the files that a run leaves."""
