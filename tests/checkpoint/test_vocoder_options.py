"""Every choice about the vocoder can be made from the command line and the environment, and reaches it."""

from __future__ import annotations

import argparse

import pytest
import torch

from realtime.checkpoint.load import load_model
from realtime.checkpoint.vocoder_options import vocoder_options
from realtime.commands import serve
from realtime.config import Settings, add_arguments
from realtime.errors import ConfigError
from streaming_vocoder.chunk_schedule import ChunkSchedule
from streaming_vocoder.options import VocoderOptions

CHOSEN = VocoderOptions(
    steps=3, trim="prompt", fade="amplitude", dtype=torch.bfloat16, ladder=ChunkSchedule((6, 12)), fixed_streams=2
)
FLAGS = (
    "--flow-steps=3 --vocoder-trim=prompt --vocoder-fade=amplitude --vocoder-dtype=bfloat16 --vocoder-chunks=6,12 "
    "--vocoder-fixed-streams=2"
).split()


def read(*flags: str, **environ: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return Settings.read(parser.parse_args(flags), environ)


def test_the_defaults_are_those_of_the_package() -> None:
    assert vocoder_options(read(), 10) == VocoderOptions()


def test_flags_and_environment_reach_the_vocoder() -> None:
    pairs = (flag.removeprefix("--").split("=") for flag in FLAGS)
    environ = {"REALTIME_" + name.replace("-", "_").upper(): value for name, value in pairs}
    assert vocoder_options(read(**environ), 3) == CHOSEN
    assert load_model(read(*FLAGS)).vocoder.options == CHOSEN


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--vocoder-fixed-streams=8"], r"--vocoder-fixed-streams \(REALTIME_VOCODER_FIXED_STREAMS\): .*trim=prompt"),
        (
            ["--vocoder-chunks=5;10"],
            r"--vocoder-chunks \(REALTIME_VOCODER_CHUNKS\): got '5;10', expected comma-separated numbers",
        ),
        (["--vocoder-chunks=25,5"], "--vocoder-chunks .*: got 25 → 5, expected chunks of 4 to 200 tokens"),
        (["--flow-steps=-1"], "--flow-steps: -1 is not in 0-100"),
    ],
)
def test_a_server_with_impossible_options_does_not_start(flags: list[str], problem: str) -> None:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    with pytest.raises(ConfigError, match=problem):
        serve.run(parser.parse_args(flags))


def test_a_variable_must_have_a_known_value() -> None:
    with pytest.raises(
        ConfigError, match=r"--vocoder-trim \(REALTIME_VOCODER_TRIM\): 'all' is not one of upstream, prompt"
    ):
        read(REALTIME_VOCODER_TRIM="all")
