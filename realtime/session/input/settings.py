"""From the session object to the configuration of endpointing, echo gate, noise reduction and turn-taking."""

from __future__ import annotations

from realtime.audio.streams import samples_of_ms
from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.protocol.session_config import NoiseReduction, SemanticVad, Session, TranscriptionSession, TurnDetection
from realtime.session.config import SessionConfig
from realtime.turns.endpointing import EndpointingConfig
from realtime.turns.floor import TurnConfig
from realtime.turns.turn_completion import ENDPOINTING_DELAYS

_NOISE_REDUCTION_DB = {"near_field": 12.0, "far_field": 18.0}
"""A headset needs little. A distant microphone picks up more noise, which is worth some harm to the speech."""


def noise_reduction_db(reduction: NoiseReduction | None) -> float | None:
    """By how much noise is lowered at most; None: not at all."""
    if reduction is None:
        return None
    return _NOISE_REDUCTION_DB[reduction.type or "near_field"] * (
        1.0 if reduction.strength is None else reduction.strength
    )


def endpointing(detection: TurnDetection | None) -> EndpointingConfig | None:
    """How speech is found; None: not at all."""
    if detection is None:
        return None
    if isinstance(detection, SemanticVad):
        return EndpointingConfig(
            delay=ENDPOINTING_DELAYS["medium" if detection.eagerness == "auto" else detection.eagerness]
        )
    return EndpointingConfig(
        threshold=detection.threshold,
        prefix_padding_ms=detection.prefix_padding_ms,
        silence_ms=detection.silence_duration_ms,
    )


def gates_echo(detection: TurnDetection | None, config: SessionConfig) -> bool:
    """Whether our own voice in the microphone is told from the caller's."""
    if detection is None or detection.echo_gate is None:
        return config.echo_gate
    return detection.echo_gate


def turn_config(settings: Session | TranscriptionSession, config: SessionConfig) -> TurnConfig:
    """How turns are taken. A transcription session answers nothing. Where nothing is answered automatically there is no
    idle timeout, because it would start a response that nobody asked for.
    """
    detection = settings.turn_detection
    answers = not isinstance(settings, TranscriptionSession)
    limit = int(config.limits.turn_s * MODEL_SAMPLE_RATE)
    if detection is None:
        return TurnConfig(max_turn=limit)
    answers = answers and detection.create_response
    idle_ms = None if isinstance(detection, SemanticVad) or not answers else detection.idle_timeout_ms
    return TurnConfig(
        create_response=answers,
        interrupt_response=detection.interrupt_response,
        interruption=detection.interruption or config.interruption,
        idle_timeout=None if idle_ms is None else samples_of_ms(idle_ms, MODEL_SAMPLE_RATE),
        max_turn=limit,
    )
