"""Training runs: their options, how they start and resume, and the files that they write."""
