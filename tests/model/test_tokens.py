from __future__ import annotations

import pytest

from realtime.errors import CheckpointError
from realtime.model.tokens import SpecialTokens, TokenKind

OFFICIAL = {
    "<|endoftext|>": 151643,
    "<tool_call>": 151657,
    "</tool_call>": 151658,
    "<|EOT|>": 151665,
    "<|BOT|>": 151666,
    "<audio_start>": 151688,
    "<audio_end>": 151689,
    "<audio_patch>": 151690,
    "<tts_start>": 151693,
    "<tts_end>": 151694,
    "<tts_pad>": 151695,
    "<audio_0>": 151696,
    "<audio_6561>": 158257,
}
TOKENS = SpecialTokens.from_ids(OFFICIAL)


def test_the_official_vocabulary_has_6561_speech_codes() -> None:
    assert TOKENS.speech_codes == 6561
    assert TOKENS.speech_code(151696) == 0
    assert TOKENS.speech_code(158256) == 6560


@pytest.mark.parametrize(
    ("id_", "kind"),
    [
        (0, TokenKind.TEXT),
        (151642, TokenKind.TEXT),
        (151643, TokenKind.STOP),
        (151657, TokenKind.TEXT),
        (151665, TokenKind.STOP),
        (151688, TokenKind.OTHER),
        (151690, TokenKind.OTHER),
        (151693, TokenKind.OTHER),
        (151694, TokenKind.TTS_END),
        (151695, TokenKind.PADDING),
        (151696, TokenKind.SPEECH),
        (158256, TokenKind.SPEECH),
        (158257, TokenKind.PADDING),
        (158258, TokenKind.OTHER),
        (158719, TokenKind.OTHER),
    ],
)
def test_generated_ids_are_classified_by_number(id_: int, kind: TokenKind) -> None:
    assert TOKENS.kind(id_) is kind


def test_every_missing_name_is_reported() -> None:
    ids = {name: id_ for name, id_ in OFFICIAL.items() if name not in ("<|EOT|>", "<audio_6561>")}
    with pytest.raises(CheckpointError, match=r"<\|EOT\|>, <audio_6561> or <audio_pad>"):
        SpecialTokens.from_ids(ids)


def test_an_official_vocabulary_with_another_id_is_refused() -> None:
    with pytest.raises(CheckpointError, match="eot is 151666, officially 151665"):
        SpecialTokens.from_ids(OFFICIAL | {"<|EOT|>": 151666})


def test_a_small_vocabulary_has_its_own_ids() -> None:
    ids = {name: id_ - 151000 for name, id_ in OFFICIAL.items()}
    assert SpecialTokens.from_ids(ids).eot == 665


def test_markers_out_of_order_are_refused() -> None:
    ids = {name: id_ - 151000 for name, id_ in OFFICIAL.items()} | {"<tts_pad>": 9999}
    with pytest.raises(CheckpointError, match="tts_pad < audio_0"):
        SpecialTokens.from_ids(ids)
