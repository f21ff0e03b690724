"""What happens where the published clients cannot be installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.clients.conftest import Client
from tests.clients.install import install, is_unreachable


@pytest.mark.parametrize(
    "output",
    [
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<pip…>')': /simple/",
        "WARNING: … broken by 'NameResolutionError(\"Failed to resolve 'host' ([Errno -2] …)\")'",
        "ERROR: HTTP error 503 while getting https://host/a.whl",
        "npm error code EAI_AGAIN\nnpm error syscall getaddrinfo",
        "npm error code E503",
    ],
)
def test_unreachable_registries_are_known_by_their_error_text(output: str) -> None:
    assert is_unreachable(output)


@pytest.mark.parametrize(
    "output",
    [
        "ERROR: Could not find a version that satisfies the requirement pipecat-ai==99 (from versions: 1.14.0)",
        "ERROR: ResolutionImpossible: for help visit …",
        "npm error code EUSAGE\nnpm error `npm ci` can only install packages when your package.json and lock agree",
        "npm error code E404",
    ],
)
def test_pin_faults_are_not_taken_for_registry_faults(output: str) -> None:
    assert not is_unreachable(output)


def test_unreachable_registries_skip_their_clients_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "print('npm error code ENOTFOUND'); raise SystemExit(1)"
    assert not install("node", [sys.executable, "-c", code], tmp_path)
    monkeypatch.setattr("tests.clients.conftest.INSTALLED", tmp_path)
    with pytest.raises(pytest.skip.Exception, match="could not be installed: their registry cannot be reached"):
        Client("some client", "drive.mjs").command()


def test_any_other_failure_of_an_installer_fails(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no such pin"):
        install("python", [sys.executable, "-c", "raise SystemExit('no such pin')"], tmp_path)
    assert not list(tmp_path.iterdir())
