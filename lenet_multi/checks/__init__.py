"""Parity checks: every backend against a float64 reference in NumPy."""
