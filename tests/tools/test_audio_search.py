"""Clips are found by what is said in them, and their voice speaks the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from realtime.engine.clip_voices import MAX_VOICES, ClipVoices
from realtime.engine.vocoder_service import ThreadedVocoder
from realtime.errors import ConfigError
from realtime.tools.audio_search import VoiceOf, audio_search
from realtime.tools.clip_index import Clip, ClipIndex
from realtime.tools.registry import Registry
from streaming_vocoder.voice import Voice

TEXTS = {"anna": "the weather in Berlin is fine", "bruno": "to be or not to be", "chen": "今天天气很好"}


def folder_of_clips(folder: Path) -> Path:
    for name, text in TEXTS.items():
        (folder / f"{name}.wav").write_bytes(b"RIFF")
        (folder / f"{name}.txt").write_text(text, "utf-8")
    return folder


def best(index: ClipIndex, query: str) -> str | None:
    hits = index.search(query)
    return hits[0].clip.name if hits else None


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("Weather, Berlin?", "anna"),
        ("not to BE", "bruno"),
        ("天气", "chen"),
        ("Anna", "anna"),
        ("zebra", None),
        ("", None),
    ],
)
def test_clips_are_found_by_their_words(tmp_path: Path, query: str, name: str | None) -> None:
    assert best(ClipIndex.read(folder_of_clips(tmp_path)), query) == name


def test_rare_words_count_more_than_common_ones() -> None:
    texts = ["the cat", "the dog", "the the the bird"]
    index = ClipIndex([Clip(Path(f"{at}.wav"), text) for at, text in enumerate(texts)])
    assert best(index, "the cat") == "0"


def test_an_index_names_files_texts_and_voices(tmp_path: Path) -> None:
    folder_of_clips(tmp_path)
    lines = [{"file": "anna.wav", "text": "hello"}, {"file": "bruno.wav", "text": "goodbye", "voice": "nano"}]
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    index = ClipIndex.read(tmp_path)
    assert [(clip.name, clip.text, clip.voice) for clip in index.clips] == [
        ("anna", "hello", ""),
        ("bruno", "goodbye", "nano"),
    ]


@pytest.mark.parametrize(
    "line", ['{"file": "anna.wav"}', "[]", "x", '{"file": "../x.wav", "text": ""}', '{"file": "no.wav", "text": ""}']
)
def test_a_wrong_index_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    folder_of_clips(tmp_path)
    (tmp_path.parent / "x.wav").write_bytes(b"RIFF")
    (tmp_path / "index.jsonl").write_text('{"file": "anna.wav", "text": "hello"}\n' + line)
    with pytest.raises(ConfigError, match="line 2"):
        ClipIndex.read(tmp_path)


def test_a_folder_without_clips_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"index\.jsonl"):
        ClipIndex.read(tmp_path)


def speaking(voice_of: VoiceOf, folder: Path) -> Registry:
    return Registry([audio_search(ClipIndex.read(folder_of_clips(folder)), voice_of)])


async def test_answers_are_spoken_in_the_best_clips_voice(tmp_path: Path) -> None:
    tools = speaking(lambda clip: f"clip:{clip.name}", tmp_path)
    result = await tools.call("audio_search", '{"query": "Berlin"}')
    assert result.voice == "clip:anna" and "the weather in Berlin is fine" in result.output
    result = await tools.call("audio_search", '{"query": "Berlin", "use_voice": false}')
    assert result.voice is None and "the voice stays" in result.output


async def test_nothing_found_and_no_voice_are_told(tmp_path: Path) -> None:
    tools = speaking(lambda clip: None, tmp_path)
    assert "No recording was found" in (await tools.call("audio_search", '{"query": "zebra"}')).output
    result = await tools.call("audio_search", '{"query": "Berlin"}')
    assert result.voice is None and "the voice stays" in result.output


# Voices


def voice(name: str) -> Voice:
    return Voice(name, torch.zeros(4, dtype=torch.long), torch.zeros(8, 80), torch.zeros(192))


@pytest.fixture
def vocoder() -> ThreadedVocoder:
    return ThreadedVocoder(None, {"nano": voice("nano")})  # type: ignore[arg-type]


def test_an_enrolled_voice_goes_by_its_name(vocoder: ThreadedVocoder, tmp_path: Path) -> None:
    voices = ClipVoices(vocoder, tmp_path)
    assert voices.voice_of(tmp_path / "a.wav", "nano") == "nano"


def test_a_voice_saved_beside_the_clip_is_taken(vocoder: ThreadedVocoder, tmp_path: Path) -> None:
    voice("anna").save(tmp_path / "anna.safetensors")
    voices = ClipVoices(vocoder, tmp_path)
    assert voices.voice_of(tmp_path / "anna.wav") == "clip:anna"
    assert vocoder.voices == ("nano", "clip:anna")


def test_without_the_models_that_enrol_the_voice_stays(
    vocoder: ThreadedVocoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voices = ClipVoices(vocoder, tmp_path)
    assert voices.voice_of(folder_of_clips(tmp_path) / "anna.wav") is None
    assert voices.voice_of(tmp_path / "anna.wav") is None
    assert caplog.text.count("no voice from anna.wav") == 1


def test_only_so_many_voices_are_kept(vocoder: ThreadedVocoder, tmp_path: Path) -> None:
    voices = ClipVoices(vocoder, tmp_path)
    for number in range(MAX_VOICES + 3):
        voice(str(number)).save(tmp_path / f"{number}.safetensors")
        assert voices.voice_of(tmp_path / f"{number}.wav") == f"clip:{number}"
    assert len(vocoder.voices) == 1 + MAX_VOICES
    assert voices.voice_of(tmp_path / "0.wav") == "clip:0"
