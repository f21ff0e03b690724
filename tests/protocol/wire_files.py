"""The example messages in ``tests/wire``, which the JavaScript tests read too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIRE = Path(__file__).parents[1] / "wire"


@dataclass(frozen=True)
class Example:
    """One message of a flow: who says it, and the JSON object."""

    flow: str
    number: int
    sender: str
    event: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.flow}-{self.number}-{self.event['type']}"


def flow(name: str) -> list[Example]:
    messages = json.loads((WIRE / f"{name}.json").read_text())["messages"]
    return [
        Example(name, number, message["from"], message["event"]) for number, message in enumerate(messages, start=1)
    ]


FLOWS = {
    path.stem: flow(path.stem) for path in sorted(WIRE.glob("*.json")) if "messages" in json.loads(path.read_text())
}
EXAMPLES = [example for examples in FLOWS.values() for example in examples]
CLIENT_EXAMPLES = [example for example in EXAMPLES if example.sender == "client"]
SERVER_EXAMPLES = [example for example in EXAMPLES if example.sender == "server"]
REFUSED = json.loads((WIRE / "errors.json").read_text())["refused"]
