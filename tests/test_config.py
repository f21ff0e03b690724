from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from realtime.addresses import TurnServer, stun_address, turn_server
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


def fault(*flags: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read(*flags, **environ)
    return str(raised.value)


def test_a_bad_variable_is_named_with_its_range() -> None:
    assert fault(REALTIME_PORT="many") == "--port (REALTIME_PORT): 'many' is not an integer in 1-65535"
    assert fault(REALTIME_LOG_LEVEL="loud").startswith("--log-level (REALTIME_LOG_LEVEL): 'loud' is not one of debug")


NUMBERS = [name for name, field in Settings.model_fields.items() if field.annotation in (int, float)]


@pytest.mark.parametrize("value", ["-2", "1e999", "-inf", "nan", "NaN", "9" * 30, "9" * 5000, "", " ", "x", "0x10"])
@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_a_range(name: str, value: str) -> None:
    flag = "--" + name.replace("_", "-")
    message = fault(f"{flag}={value}")
    assert message.startswith(f"{flag}: ") and " in " in message and len(message) < 200 and "\n" not in message
    assert fault(**{f"REALTIME_{name.upper()}": value}).startswith(f"{flag} (REALTIME_{name.upper()}): ")


@pytest.mark.parametrize(
    "flag", ["--port=99999", "--port=0", "--threads=-3", "--max-sessions=-1", "--max-sessions=0", "--session-seconds=0"]
)
def test_the_ends_of_ranges_hold(flag: str) -> None:
    assert fault(flag).startswith(flag.split("=")[0] + ": ")


def test_a_fraction_is_no_count() -> None:
    assert fault("--max-sessions=1.5") == "--max-sessions: 1.5 is not an integer in 1-4096"


def test_a_context_too_small_is_refused() -> None:
    assert fault("--max-context-tokens=5") == "--max-context-tokens: 5 is not 0 or in 256-1048576"


# The file


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "server.toml"
    path.write_text(text)
    return str(path)


def test_a_file_wins_over_defaults_only(tmp_path: Path) -> None:
    path = write(tmp_path, 'port = 9000\nhost = "::1"\nspeculate = false\ntools = ["get_time", "calculate"]\n')
    settings = read("--config", path)
    assert (settings.port, settings.host, settings.speculate) == (9000, "::1", False)
    assert settings.tools == "get_time,calculate"
    assert read(REALTIME_CONFIG=path, REALTIME_PORT="9001").port == 9001
    assert read("--port=9002", REALTIME_CONFIG=path, REALTIME_PORT="9001").port == 9002


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 0", "--port (port in FILE): 0 is not in 1-65535"),
        ("port = true", "--port (port in FILE): true is not an integer in 1-65535"),
        ("port = [1]", "--port (port in FILE): [1] is not an integer in 1-65535"),
        ("drain_seconds = nan", "--drain-seconds (drain_seconds in FILE): nan is not a number in 0-3600"),
        ("host = 5", "--host (host in FILE): 5 is not text"),
        ('host = "a\\u0000b"', "--host (host in FILE): it contains a NUL character"),
        ("ports = 1", "--config: FILE: there is no setting 'ports'"),
        ('config = "other"', "--config: FILE: there is no setting 'config'"),
        ("port = ", "--config: FILE: Invalid value (at end of document)"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    assert fault("--config", path) == said.replace("FILE", path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert fault("--config", str(tmp_path)) == f"--config: {tmp_path} is not a file"


def test_an_old_name_works_in_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "waiting_line = 3")
    assert read("--config", path).queue_size == 3
    assert caplog.messages == [f"waiting_line in {path} is deprecated: use queue_size"]


def test_a_secret_is_not_repeated(tmp_path: Path) -> None:
    path = write(tmp_path, "api_key = 31337")
    assert fault("--config", path) == f"--api-key (api_key in {path}): the value is not text"


def test_every_flag_names_its_environment_variable() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = parser.format_help()
    for name in Settings.model_fields:
        assert f"REALTIME_{name.upper()}" in text


def test_a_switch_is_a_flag_or_a_word() -> None:
    assert not read().tls_self_signed
    assert read("--tls-self-signed").tls_self_signed
    assert read(REALTIME_TLS_SELF_SIGNED="Yes").tls_self_signed
    assert not read("--no-tls-self-signed", REALTIME_TLS_SELF_SIGNED="1").tls_self_signed
    assert not read(REALTIME_TLS_SELF_SIGNED="false").tls_self_signed
    told = fault(REALTIME_TLS_SELF_SIGNED="maybe")
    assert told == "--tls-self-signed (REALTIME_TLS_SELF_SIGNED): 'maybe' is not one of true, false"


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


def test_misspelt_variables_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert read(REALTIME_MAX_SESIONS="3", REALTIME_ZZZ="1", OTHER="1").max_sessions == 0
    ignored = "the environment variable {} is no setting and is ignored"
    assert caplog.messages == [
        ignored.format("REALTIME_MAX_SESIONS") + "; did you mean REALTIME_MAX_SESSIONS?",
        ignored.format("REALTIME_ZZZ"),
    ]


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
    assert fault("--call-confidence=1.5") == "--call-confidence: 1.5 is not in -1 to 1"


def test_webrtc_settings_are_checked() -> None:
    assert read("--webrtc-advertised", "203.0.113.7, 2001:db8::1").webrtc_advertised == "203.0.113.7, 2001:db8::1"
    assert "not appear to be an IPv4 or IPv6 address" in fault("--webrtc-addresses", "example.org")
    assert fault("--webrtc-advertised", "203.0.113.7:40000").startswith("--webrtc-advertised: ")
    assert (
        fault("--webrtc-stun", "stun.example.org:x") == "--webrtc-stun: 'stun.example.org:x' is not HOST or HOST:PORT"
    )


def test_turn_servers_are_read_from_urls() -> None:
    assert turn_server("") is None
    assert turn_server("turn:example.org") == TurnServer("example.org", 3478)
    assert turn_server("turn:example.org:80?transport=tcp") == TurnServer("example.org", 80, "tcp")
    assert turn_server("turns:example.org") == TurnServer("example.org", 5349, "tcp", tls=True)
    for wrong in ("example.org", "turn:", "turn:h:0", "turns:h?transport=udp", "turn:h:99999", "turn:a b"):
        assert fault("--webrtc-turn", wrong).startswith("--webrtc-turn: ")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", None),
        ("stun.example.org", ("stun.example.org", 3478)),
        ("stun:stun.example.org:19302", ("stun.example.org", 19302)),
    ],
)
def test_stun_servers_have_a_default_port(text: str, address: tuple[str, int] | None) -> None:
    assert stun_address(text) == address
