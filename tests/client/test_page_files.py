"""The page's files: what is vendored is what its registry published, and nothing is loaded from elsewhere."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FRONTEND = Path(__file__).parents[2] / "frontend"

# lit-html 3.3.3 (npm; without its sourceMappingURL line) and @fontsource-variable/inter 5.3.0, latin.
VENDORED = {
    "lit-html.js": "22115ca1002e4afc0dd2cb208f28d9c71a577a8989d4185028e26b29676e7842",
    "lit-html.LICENSE": "2b66f9390afde29edfe4314daff93f01fb182e1178053e228120178987e5db75",
    "inter.woff2": "3100e775e8616cd2611beecfa23a4263d7037586789b43f035236a2e6fbd4c62",
    "inter.LICENSE": "3b0a5fca3d17942cde889069889dedbbbd075e9b599968c82a95f4d944e9b345",
}
TSC = shutil.which("tsc")


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_files_are_unchanged(name: str) -> None:
    assert hashlib.sha256((FRONTEND / "vendor" / name).read_bytes()).hexdigest() == VENDORED[name]


def test_the_page_loads_nothing_from_elsewhere() -> None:
    sources = [*FRONTEND.rglob("*.css"), *FRONTEND.rglob("*.html"), *(FRONTEND / "src").rglob("*.js")]
    loads = re.compile(r"""(?:src|href|from|import\(|url\()\s*=?\s*['"(]?\s*(https?:)?//""")
    assert [path.name for path in sources if loads.search(path.read_text())] == []


@pytest.mark.skipif(TSC is None, reason="tsc is not installed (npm install --global typescript)")
def test_the_modules_are_typed() -> None:
    assert TSC is not None
    done = subprocess.run([TSC, "-p", FRONTEND], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
