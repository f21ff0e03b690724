"""`realtime voice`: recordings become files that the server finds, and every mistake is one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from safetensors.torch import save_file

from realtime.cli import main
from streaming_vocoder.voice import TOKENIZER_FILE, Voice
from tests.vocoder.conftest import SIZES, make_flow, make_hift, make_voice
from tests.vocoder.enrolment import recording, save_stand_ins, wav


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stand-ins for the ONNX files; voices go elsewhere."""
    folder = tmp_path_factory.mktemp("checkpoint")
    (folder / "token2wav").mkdir()
    save_stand_ins(folder / "token2wav")
    return folder


@pytest.fixture(scope="module")
def speaking_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny vocoder and no ONNX files."""
    folder = tmp_path_factory.mktemp("speaking")
    token2wav = folder / "token2wav"
    token2wav.mkdir()
    flow, hift = SIZES.flow, SIZES.hift

    def section(config: object, *names: str) -> dict[str, object]:
        return {name: getattr(config, name) for name in names}

    estimator = section(flow.estimator, "depth", "num_heads", "head_dim", "hidden_size", "mlp_ratio")
    encoder = section(
        flow.encoder, "input_size", "output_size", "num_blocks", "num_up_blocks", "attention_heads", "linear_units"
    )
    content = {
        "flow": {
            **section(flow, "input_size", "vocab_size"),
            "encoder": encoder,
            "decoder": {"estimator": estimator},
        },
        "hift": {
            name: _lists(getattr(hift, name)) for name in hift.__dataclass_fields__ if not name.startswith("samples")
        },
    }
    (token2wav / "flow.yaml").write_text(yaml.safe_dump(content))
    save_file(
        {name: value.contiguous() for name, value in make_flow().state_dict().items()}, token2wav / "flow.safetensors"
    )
    save_file(
        {name: value.contiguous() for name, value in make_hift().state_dict().items()}, token2wav / "hift.safetensors"
    )
    (folder / "voices").mkdir()
    make_voice(tokens=30).save(folder / "voices" / "anna.safetensors")
    return folder


def _lists(value: object) -> object:
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _add(checkpoint: Path, tmp_path: Path, content: bytes, name: str = "anna", *extra: str) -> int:
    prompt = tmp_path / "prompt.wav"
    prompt.write_bytes(content)
    voices = str(tmp_path / "voices")
    return main(["voice", "add", name, str(prompt), "--model", str(checkpoint), "--voices", voices, *extra])


def test_an_added_voice_is_listed_and_loads(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _add(checkpoint, tmp_path, recording(2.0)) == 0
    path = tmp_path / "voices" / "anna.safetensors"
    assert capsys.readouterr().out.strip() == str(path)
    voice = Voice.load(path)
    assert voice.name == "anna" and len(voice.tokens) == 50
    assert main(["voice", "list", "--voices", str(path.parent)]) == 0
    assert capsys.readouterr().out.split()[:3] == ["anna", "2.0", "s"]


def test_voices_lie_in_the_checkpoint_by_default(checkpoint: Path, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.wav"
    prompt.write_bytes(recording(2.0))
    assert main(["voice", "add", "berta", str(prompt), "--model", str(checkpoint)]) == 0
    assert (checkpoint / "voices" / "berta.safetensors").is_file()


def test_a_recording_of_more_than_17_seconds_works(checkpoint: Path, tmp_path: Path) -> None:
    assert _add(checkpoint, tmp_path, recording(25.0, 16000)) == 0


def test_a_voice_is_replaced_only_by_force(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _add(checkpoint, tmp_path, recording(2.0)) == 0
    assert _add(checkpoint, tmp_path, recording(3.0)) == 2
    assert "--force" in capsys.readouterr().err
    path = tmp_path / "voices" / "anna.safetensors"
    assert len(Voice.load(path).tokens) == 50
    assert _add(checkpoint, tmp_path, recording(3.0), "anna", "--force") == 0
    assert len(Voice.load(path).tokens) == 75


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"this is no sound", "not a readable audio file"),
        (recording(0.5), "0.5 s"),
        (recording(31.0, 16000), "31.0 s"),
        (recording(2.0, level=0.0), "silent"),
        (wav(np.clip(np.random.default_rng(0).normal(0, 2, 32000), -1, 1)[:, None], 16000), "clipped"),
    ],
    ids=["text", "short", "long", "silent", "clipped"],
)
def test_an_unusable_recording_is_a_one_line_error(
    checkpoint: Path, tmp_path: Path, content: bytes, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _add(checkpoint, tmp_path, content) == 2
    error = capsys.readouterr().err
    assert error.startswith("realtime voice: ") and problem in error and error.count("\n") == 1
    assert not (tmp_path / "voices").exists()


def test_missing_model_files_are_named(
    speaking_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _add(speaking_checkpoint, tmp_path, recording(2.0)) == 2
    assert TOKENIZER_FILE in capsys.readouterr().err


def test_a_missing_recording_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voice", "add", "anna", str(tmp_path / "nowhere.wav"), "--voices", str(tmp_path)]) == 2
    assert "nowhere.wav" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../anna", "a/b", ".hidden", "", "a\\b"])
def test_a_name_never_leaves_the_folder(
    checkpoint: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _add(checkpoint, tmp_path, recording(2.0), name) == 2
    assert "without folders" in capsys.readouterr().err


def test_an_empty_list_says_how_to_fill_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voice", "list", "--voices", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out == "" and "realtime voice add" in printed.err


def test_a_preview_is_audible_and_of_prompt_length(speaking_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    arguments = ["voice", "preview", "anna", "--model", str(speaking_checkpoint), "--out", str(out), "--steps", "2"]
    assert main(arguments) == 0
    samples, rate = soundfile.read(out)
    assert (rate, len(samples)) == (24_000, 30 * 960)
    assert np.abs(samples).max() > 1e-2


def test_an_unknown_voice_names_those_there_are(
    speaking_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.wav"
    assert main(["voice", "preview", "nobody", "--model", str(speaking_checkpoint), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "nobody" in error and "anna" in error
