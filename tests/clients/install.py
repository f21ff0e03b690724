"""Installs the clients as they are published: `python -m tests.clients.install FOLDER`.

The Python ones go into an environment in ``FOLDER/python``, the JavaScript ones into ``tests/clients/node_modules``;
all versions are pinned (constraints.txt, package-lock.json). A registry that cannot be reached and a missing npm are
no fault of the product: then the reason is left in ``FOLDER/python.skipped`` or ``FOLDER/node.skipped``, and the tests
of these clients are skipped with it. Any other failure fails.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent

_UNREACHABLE = re.compile(
    # pip's and urllib3's words
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|ConnectionResetError"
    r"|ProtocolError\('Connection aborted|(?:HTTP error|Error|Client Error|Server Error:?) (?:403|407|429|5\d\d)\b"
    # npm's
    r"|npm (?:error|ERR!) code (?:EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|E403|E407|E429|E5\d\d)\b"
)


def is_unreachable(output: str) -> bool:
    """Whether an installer that failed says that its registry could not be reached, or would not answer."""
    return _UNREACHABLE.search(output) is not None


def install(name: str, command: Sequence[str], reasons: Path, cwd: Path = HERE) -> bool:
    """Run an installer. False when its registry cannot be reached, which is then noted in ``reasons``.

    Raises `SystemExit` with its output when it fails otherwise.
    """
    ran = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if ran.returncode == 0:
        return True
    if not is_unreachable(ran.stdout):
        raise SystemExit(f"{ran.stdout}\n{name}: {' '.join(command)} failed")
    skip(name, "their registry cannot be reached", reasons)
    return False


def skip(name: str, why: str, reasons: Path) -> None:
    print(f"The {name} clients will be skipped: {why}.")
    (reasons / f"{name}.skipped").write_text(why)


def install_python(folder: Path) -> None:
    """A fresh environment with all Python clients."""
    environment = folder / "python"
    venv.create(environment, clear=True, with_pip=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if not install("python", [*pip, "-r", "requirements.txt", "-c", "constraints.txt"], folder):
        shutil.rmtree(environment)


def install_node(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        skip("node", "this machine has no npm", folder)
        return
    install("node", [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], folder)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for reason in folder.glob("*.skipped"):
        reason.unlink()
    print(f"Installing published clients into {folder} and {HERE / 'node_modules'} ...", flush=True)
    install_python(folder)
    install_node(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
