from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from realtime.checkpoint.load import load_model
from realtime.checkpoint.profile import load_profile
from realtime.config import EMBEDDED_CHECKPOINT, Settings, add_arguments
from realtime.errors import ConfigError


def read(*flags: str, **environ: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return Settings.read(parser.parse_args(flags), environ)


def test_the_embedded_model_is_the_default() -> None:
    assert read().model == EMBEDDED_CHECKPOINT


def test_flags_win_over_environment_over_defaults() -> None:
    assert read(REALTIME_PORT="9000").port == 9000
    assert read("--port", "9001", REALTIME_PORT="9000").port == 9001
    assert read("--model", "/weights").model == Path("/weights")


def test_a_bad_variable_is_named_with_its_type() -> None:
    with pytest.raises(ConfigError, match="REALTIME_PORT: got 'many', expected int"):
        read(REALTIME_PORT="many")
    with pytest.raises(ConfigError, match="REALTIME_LOG_LEVEL: got 'loud', expected one of debug"):
        read(REALTIME_LOG_LEVEL="loud")


def test_every_flag_names_its_environment_variable() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = parser.format_help()
    for name in Settings.__dataclass_fields__:
        assert f"REALTIME_{name.upper()}" in text


def test_a_switch_is_a_flag_or_a_word() -> None:
    assert not read().tls_self_signed
    assert read("--tls-self-signed").tls_self_signed
    assert read(REALTIME_TLS_SELF_SIGNED="Yes").tls_self_signed
    assert not read("--no-tls-self-signed", REALTIME_TLS_SELF_SIGNED="1").tls_self_signed
    assert not read(REALTIME_TLS_SELF_SIGNED="false").tls_self_signed
    with pytest.raises(ConfigError, match="REALTIME_TLS_SELF_SIGNED: got 'maybe', expected one of 1, true"):
        read(REALTIME_TLS_SELF_SIGNED="maybe")


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("waiting_line", "queue_size", 3),
        ("waiting_seconds", "queue_seconds", 9),
        ("vocoder_ladder", "vocoder_chunks", "8"),
    ],
)
def test_an_old_name_works_with_one_warning(
    old: str, new: str, value: int | str, caplog: pytest.LogCaptureFixture
) -> None:
    flag, variable = "--" + old.replace("_", "-"), f"REALTIME_{old.upper()}"
    assert getattr(read(flag, str(value)), new) == value
    assert caplog.messages == [f"{flag} is deprecated: use --{new.replace('_', '-')}"]
    caplog.clear()
    assert getattr(read(**{variable: str(value)}), new) == value
    assert caplog.messages == [f"{variable} is deprecated: use REALTIME_{new.upper()}"]


def test_a_new_name_wins_over_the_old(caplog: pytest.LogCaptureFixture) -> None:
    assert read(REALTIME_QUEUE_SIZE="1", REALTIME_WAITING_LINE="2").queue_size == 1
    assert read("--queue-size=1", REALTIME_WAITING_LINE="2").queue_size == 1
    assert not caplog.messages


def test_the_help_names_no_old_flag() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert "--waiting-line" not in parser.format_help()


def test_call_confidence_is_validated_and_applied() -> None:
    def confidence(*flags: str) -> float:
        return load_model(read(*flags)).profile.sampling.call_confidence

    own = load_profile(EMBEDDED_CHECKPOINT).sampling.call_confidence
    assert confidence() == own
    assert confidence("--call-confidence=0.75") == 0.75
    assert confidence("--call-confidence=0") == 0
    with pytest.raises(ConfigError, match="--call-confidence .*: got 1.5, expected a likelihood"):
        confidence("--call-confidence=1.5")
