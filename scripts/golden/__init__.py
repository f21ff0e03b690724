"""Checks of golden vectors, one module a part of the model; `scripts/check_golden.py` runs them."""
