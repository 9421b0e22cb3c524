"""Comparisons of training runs: plan, runner, findings about the trained networks, and the report."""
