"""WORLD, the vocoder that takes speech apart into pitch, envelope and aperiodicity and puts it together again.

Dependencies: pyworld.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import Any


@functools.cache
def world() -> Any:
    """The module pyworld: its __init__ asks pkg_resources, which setuptools no longer ships, for nothing but its own
    version."""
    if "pkg_resources" not in sys.modules:
        stub = types.ModuleType("pkg_resources")
        stub.get_distribution = lambda name: types.SimpleNamespace(version="0")  # type: ignore[attr-defined]
        sys.modules["pkg_resources"] = stub
    import pyworld

    return pyworld
