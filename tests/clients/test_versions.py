"""README.md names the versions that are tested."""

from __future__ import annotations

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
README = (HERE.parents[1] / "README.md").read_text("utf-8")
WORKS_WITH = README.partition("## Works with")[2].partition("\n## ")[0]
CONSTRAINTS = (HERE.parents[1] / "constraints.txt").read_text("utf-8")


def test_the_readme_names_the_versions_that_are_tested() -> None:
    pinned = json.loads((HERE / "package.json").read_text())["dependencies"]
    del pinned["ws"]  # the others' socket
    requirements = re.findall(r"^[a-z].*", (HERE / "requirements.txt").read_text(), re.MULTILINE)
    python = dict(re.sub(r"\[.*\]", "", line).split("==") for line in requirements)
    ours = re.findall(r"^(openai)==(\S+)", CONSTRAINTS, re.MULTILINE)
    expected = {*pinned.items(), *python.items(), *ours}
    rows = re.findall(r"^\| `([^`]+)`[^|]* \| (\d[\d.]*) \|", WORKS_WITH, re.MULTILINE)
    assert set(rows) == expected
