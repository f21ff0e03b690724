"""A running festival that is told what to do, one command after the other.

Needs the program festival.
"""

from __future__ import annotations

import subprocess


class Festival:
    """`festival --pipe`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["festival", "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, scheme: str) -> list[str]:
        """Run a command; gives the lines that it printed. Raises RuntimeError when festival ends over it."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f'{scheme}\n(format t "ready\\n")\n(fflush nil)\n')
        self._process.stdin.flush()
        lines = []
        while (line := self._process.stdout.readline()).strip() != "ready":
            if not line:
                raise RuntimeError(f"festival ended at {scheme!r}")
            lines.append(line.strip())
        return lines

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
