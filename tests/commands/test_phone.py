"""`realtime phone`: what it prints opens a stream at the server's own path."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from realtime.cli import main
from realtime.commands.phone_config import read_phone_config
from realtime.config import Settings
from realtime.errors import ConfigError
from realtime.transports.phone.dialects import DIALECTS
from realtime.transports.phone.snippets import SNIPPETS

URL = "wss://voice.example.com"
SECRET = "s3cret-of-the-phone"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["phone", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_has_a_snippet(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, name, "--public-url", f"{URL}/", "--secret", SECRET)
    assert f"{URL}/v1/phone/{name}/{SECRET}" in shown
    if shown.startswith("<"):
        ElementTree.fromstring(shown)
    elif shown.startswith(("{", "[")):
        json.loads(shown)
    assert set(SNIPPETS) == set(DIALECTS)


def test_the_secret_comes_from_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_PHONE_SECRETS", f"{SECRET},another-secret-of-it")
    monkeypatch.setenv("REALTIME_PHONE_PUBLIC_URL", URL)
    assert f"{URL}/v1/phone/twilio/{SECRET}" in printed(capsys, "twilio")


def test_all_dialects_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.split()[0] for line in printed(capsys, "--list").splitlines()] == list(DIALECTS)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("pigeon",),
        ("twilio",),
        ("twilio", "--public-url", "https://voice.example.com"),
        ("twilio", "--public-url", "voice.example.com"),
        ("twilio", "--public-url", URL, "--secret", "short"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phone", *arguments]) == 2
    shown = capsys.readouterr()
    assert not shown.out and shown.err.startswith("realtime phone: ") and shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phone_secrets", f"{SECRET},short"),
        ("phone_secrets", "with/slashes/of-it-x"),
        ("phone_public_url", "http://voice.example.com"),
        ("phone_public_url", "wss://[voice"),
        ("phone_parameters", "voice,tools"),
    ],
)
def test_wrong_settings_name_their_flag(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^--{name.replace('_', '-')}: ") as error:
        read_phone_config(Settings(**{name: value}))
    assert SECRET not in str(error.value) and "slashes" not in str(error.value)


def test_settings_become_the_phones_configuration() -> None:
    settings = Settings(
        phone_secrets=f"{SECRET}, another-secret-of-it", phone_parameters="voice, speed", phone_greeting=False
    )
    config = read_phone_config(settings)
    assert config.secrets == (SECRET, "another-secret-of-it") and config.parameters == ("voice", "speed")
    assert not config.greets and SECRET not in repr(config) and SECRET not in repr(settings)
