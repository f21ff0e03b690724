"""Hypothesis without a clock (a busy machine fails no test) and without files."""

from hypothesis import settings

settings.register_profile("protocol", deadline=None, database=None)
settings.load_profile("protocol")
