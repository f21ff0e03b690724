from __future__ import annotations

import functools
import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming_vocoder.chunk_schedule import MIN_CHUNK_TOKENS
from streaming_vocoder.config import SAMPLES_PER_TOKEN
from streaming_vocoder.errors import StreamError, VoiceError
from streaming_vocoder.flow import default_noise
from streaming_vocoder.streaming import Samples, StreamState, Vocoder, to_int16
from streaming_vocoder.voice import Voice
from tests.vocoder.conftest import codes, make_hift, make_vocoder, make_voice

TOLERANCE = 2e-4
"""Products of other shapes round differently; the source's phase makes 1e-4 of that."""

schedules = st.lists(st.integers(0, 14), min_size=1, max_size=6)
shared = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def speak(vocoder: Vocoder, voice: Voice, parts: list[list[int]], seed: int = 0) -> list[Samples]:
    """One stream alone; the last part is its last."""
    stream = vocoder.open(voice, seed)
    return [vocoder.step([(stream, part, index == len(parts) - 1)])[0] for index, part in enumerate(parts)]


def cut(tokens: list[int], sizes: list[int]) -> list[list[int]]:
    """Cuts by ``sizes``, the rest last."""
    parts, start = [], 0
    for size in sizes:
        parts.append(tokens[start : start + size])
        start += size
    return [*parts, tokens[start:]]


@shared
@given(schedules, st.integers(0, 40))
def test_every_token_gives_960_samples(vocoder: Vocoder, voice: Voice, sizes: list[int], count: int) -> None:
    samples = np.concatenate(speak(vocoder, voice, cut(codes(count), sizes)))
    assert samples.dtype == np.float32
    assert len(samples) == SAMPLES_PER_TOKEN * count
    assert np.isfinite(samples).all() and np.abs(samples).max(initial=0) <= 1.0


def test_first_audio_needs_five_tokens_and_lookahead(vocoder: Vocoder, voice: Voice) -> None:
    stream = vocoder.open(voice)
    assert stream.wanted(5) == 8
    tokens = codes(8)
    assert len(vocoder.step([(stream, tokens[:6], False)])[0]) == 0
    assert stream.wanted(5) == 2
    assert len(vocoder.step([(stream, tokens[6:], False)])[0]) == 5 * SAMPLES_PER_TOKEN - 3840


def test_chunks_below_the_smallest_wait(vocoder: Vocoder, voice: Voice) -> None:
    """Tokens one by one equal tokens in chunks of the smallest size: what is too small is kept, not
    mangled."""
    tokens = codes(23)
    singly = speak(vocoder, voice, [[token] for token in tokens])
    first = MIN_CHUNK_TOKENS + vocoder.lookahead
    chunked = speak(vocoder, voice, [*cut(tokens[:-1], [first, 4, 4, 4]), tokens[-1:]])
    np.testing.assert_allclose(np.concatenate(singly), np.concatenate(chunked), atol=TOLERANCE)


@shared
@given(st.lists(st.tuples(schedules, st.integers(1, 40), st.integers(0, 2)), min_size=2, max_size=4), st.randoms())
def test_interleaved_and_batched_streams_equal_streams_alone(
    vocoder: Vocoder, streams: list[tuple[list[int], int, int]], random: object
) -> None:
    """Streams of three voices and any chunking, stepped in random company."""
    voices = [make_voice(seed, tokens) for seed, tokens in ((0, 12), (1, 60), (2, 5))]
    parts = [cut(codes(count, seed=index), sizes) for index, (sizes, count, _) in enumerate(streams)]
    alone = [
        speak(vocoder, voices[voice], part, seed=index)
        for index, (part, (_, _, voice)) in enumerate(zip(parts, streams, strict=True))
    ]
    opened = [vocoder.open(voices[voice], seed=index) for index, (_, _, voice) in enumerate(streams)]
    made: list[list[Samples]] = [[] for _ in streams]
    while waiting := [index for index in range(len(streams)) if len(made[index]) < len(parts[index])]:
        chosen = [index for index in waiting if random.random() < 0.6] or waiting[:1]  # type: ignore[attr-defined]
        requests = [
            (opened[index], parts[index][len(made[index])], len(made[index]) == len(parts[index]) - 1)
            for index in chosen
        ]
        for index, samples in zip(chosen, vocoder.step(requests), strict=True):
            made[index].append(samples)
    for one, many in zip(alone, made, strict=True):
        assert [len(samples) for samples in one] == [len(samples) for samples in many]
        np.testing.assert_allclose(np.concatenate(many), np.concatenate(one), atol=TOLERANCE)


def test_later_tokens_never_change_earlier_samples(vocoder: Vocoder, voice: Voice) -> None:
    tokens, other = codes(60), codes(60, seed=1)
    for split in (8, 21, 40):
        sizes = [8, 13, 19]
        kept = sizes[: [8, 21, 40].index(split) + 1]
        first = speak(vocoder, voice, cut(tokens, sizes))[: len(kept)]
        second = speak(vocoder, voice, cut(tokens[:split] + other[split:], sizes))[: len(kept)]
        for one, two in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_reply_leaves_no_trace_in_the_next(vocoder: Vocoder, voice: Voice) -> None:
    parts = cut(codes(60), [13, 25])
    before = speak(vocoder, voice, parts)
    speak(vocoder, voice, cut(codes(90, seed=3), [30, 30]))
    abandoned = vocoder.open(voice)
    vocoder.step([(abandoned, codes(30, seed=4), False)])
    for one, two in zip(before, speak(vocoder, voice, parts), strict=True):
        np.testing.assert_array_equal(one, two)


def test_voice_and_tokens_are_heard(vocoder: Vocoder, voice: Voice) -> None:
    """Guards the tests above against a vocoder that ignores its input."""
    loud = np.concatenate(speak(vocoder, voice, [codes(20)]))
    assert np.abs(loud - np.concatenate(speak(vocoder, make_voice(5), [codes(20)]))).max() > 1e-3
    assert np.abs(loud - np.concatenate(speak(vocoder, voice, [codes(20, seed=9)]))).max() > 1e-3


def test_source_noise_is_seeded_per_stream(vocoder: Vocoder, voice: Voice) -> None:
    one, same, other = (np.concatenate(speak(vocoder, voice, [codes(9)], seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-4


def test_flow_noise_can_be_injected(voice: Voice) -> None:
    noise = default_noise()
    default, same, other = (
        np.concatenate(speak(make_vocoder(noise=buffer), voice, [codes(9)])) for buffer in (None, noise, 2.0 * noise)
    )
    np.testing.assert_array_equal(default, same)
    assert np.abs(default - other).max() > 1e-3


def test_a_dropped_stream_frees_everything(vocoder: Vocoder, voice: Voice) -> None:
    stream = vocoder.open(voice)
    vocoder.step([(stream, codes(12), False)])
    assert stream.hift is not None
    owned = [*stream.flow.own_tensors(), stream.hift.mel, stream.hift.source, stream.hift.tail]
    watched = [weakref.ref(tensor) for tensor in owned]
    gc.disable()
    try:
        del stream, owned
        assert {reference() for reference in watched} == {None}
    finally:
        gc.enable()


def test_a_finished_stream_frees_its_caches_at_once(vocoder: Vocoder, voice: Voice) -> None:
    stream = vocoder.open(voice)
    caches = weakref.ref(stream.flow.solver.cache.own)
    vocoder.step([(stream, codes(9), True)])
    assert caches() is None


def test_a_snapshot_lives_as_long_as_its_voice(vocoder: Vocoder) -> None:
    voice = make_voice(7)
    vocoder.prepare(voice)
    snapshot = weakref.ref(vocoder.open(voice).flow.solver.cache.prompt)
    assert vocoder.open(voice).flow.solver.cache.prompt is snapshot()
    del voice
    gc.collect()
    assert snapshot() is None


@pytest.mark.parametrize("trim", ["upstream", "prompt"])
def test_state_stops_growing(voice: Voice, trim: str) -> None:
    vocoder = make_vocoder(trim=trim, encoder_window_frames=200)
    stream = vocoder.open(voice)
    sizes = []
    for second in range(40):
        (samples,) = vocoder.step([(stream, codes(25, seed=second), False)])
        assert np.isfinite(samples).all()
        sizes.append(stream.owned_bytes)
    assert len(set(sizes)) == 1


def test_streams_of_a_voice_share_its_prompt() -> None:
    """A longer prompt costs a stream nothing under the rule that keeps it whole."""
    vocoder = make_vocoder(trim="prompt")
    short, long = (vocoder.open(make_voice(seed=tokens, tokens=tokens)) for tokens in (60, 400))
    assert short.owned_bytes == long.owned_bytes
    voice = make_voice(8)
    one, other = (vocoder.open(voice).flow.shared_tensors() for _ in range(2))
    assert [tensor.data_ptr() for tensor in one] == [tensor.data_ptr() for tensor in other]


def test_a_window_holding_everything_is_exact(voice: Voice) -> None:
    parts = cut(codes(60), [13, 25])
    whole, window, small = (
        np.concatenate(speak(make_vocoder(encoder_window_frames=frames), voice, parts)) for frames in (3000, 144, 40)
    )
    np.testing.assert_allclose(window, whole, atol=TOLERANCE)
    assert np.abs(small - whole).max() > TOLERANCE


@pytest.mark.parametrize("fade", ["upstream", "amplitude"])
def test_both_fades_join_all_chunks(voice: Voice, fade: str) -> None:
    samples = np.concatenate(speak(make_vocoder(fade=fade), voice, cut(codes(40), [8, 10])))
    assert len(samples) == 40 * SAMPLES_PER_TOKEN
    assert np.abs(samples).max() <= 1.0


def test_only_the_amplitude_fade_keeps_the_level() -> None:
    from streaming_vocoder.hift_stream import _fade

    for kind, level in (("upstream", 1.08), ("amplitude", 1.0)):
        first, second = _fade(kind)  # type: ignore[arg-type]
        torch.testing.assert_close(first + second, torch.full_like(first, level), atol=1e-3, rtol=0)


def test_non_speech_ids_are_dropped_and_counted(vocoder: Vocoder, voice: Voice) -> None:
    tokens = codes(20)
    stream = vocoder.open(voice)
    (samples,) = vocoder.step([(stream, [-1, *tokens[:10], 40, 99999, *tokens[10:]], True)])
    np.testing.assert_array_equal(samples, speak(vocoder, voice, [tokens])[0])
    assert (stream.report.tokens, stream.report.dropped_tokens, stream.report.samples) == (20, 3, len(samples))


def test_a_broken_chunk_becomes_silence(voice: Voice) -> None:
    vocoder = make_vocoder()
    stream, bystander = vocoder.open(voice), vocoder.open(voice)
    tokens = codes(48)
    for round_, start in enumerate(range(0, 48, 12)):
        if round_ == 1:
            with torch.inference_mode():  # as the step that made them
                stream.flow.solver.tails.fill_(float("nan"))
        requests = [(state, tokens[start : start + 12], start == 36) for state in (stream, bystander)]
        samples, other = vocoder.step(requests)
        assert np.isfinite(samples).all() and len(samples) == len(other)
        assert (np.abs(samples).max() == 0.0) == (round_ == 1)
        assert np.abs(other).max() > 0.0
    assert (stream.report.broken_chunks, bystander.report.broken_chunks) == (1, 0)
    assert stream.report.samples == 48 * SAMPLES_PER_TOKEN


def mute_vocoder() -> Vocoder:
    hift = make_hift()
    hift.conv_post.weight.data.zero_()
    hift.conv_post.bias.data.fill_(-20.0)  # type: ignore[union-attr]  # the log magnitude
    return make_vocoder(hift=hift)


def test_silence_where_tokens_say_something_is_counted(vocoder: Vocoder, voice: Voice) -> None:
    tokens, pause = list(range(30)), [3, 7, 11] * 10
    counted = []
    for model, said in ((mute_vocoder(), tokens), (mute_vocoder(), pause), (vocoder, tokens)):
        stream = model.open(voice)
        model.step([(stream, said[:15], False)])
        model.step([(stream, said[15:], True)])
        counted.append(stream.report.silent_tokens > 0)
    assert counted == [True, False, False]


def test_samples_at_the_limit_are_counted(voice: Voice) -> None:
    loud = make_hift()
    loud.conv_post.bias.data.fill_(20.0)  # type: ignore[union-attr]  # the log magnitude
    counted = []
    for hift in (loud, make_hift()):
        vocoder = make_vocoder(hift=hift)
        stream = vocoder.open(voice)
        (samples,) = vocoder.step([(stream, codes(20), True)])
        assert np.abs(samples).max() <= 1.0
        counted.append(stream.report.clipped_samples > 0)
    assert counted == [True, False]


def test_a_first_chunk_may_begin_in_silence(voice: Voice) -> None:
    """Five tokens give 40 ms at first: too little to tell."""
    mute = mute_vocoder()
    stream = mute.open(voice)
    (samples,) = mute.step([(stream, list(range(8)), False)])
    assert len(samples) > 0 and stream.report.silent_tokens == 0


def test_faults_are_logged_once_per_reply(vocoder: Vocoder, voice: Voice, caplog: pytest.LogCaptureFixture) -> None:
    bad, good = vocoder.open(voice), vocoder.open(voice)
    vocoder.step([(bad, [*codes(12), 4000], False), (good, codes(12), False)])
    assert not caplog.records
    vocoder.step([(bad, [4001], True), (good, [], True)])
    assert [record.getMessage() for record in caplog.records] == ["a reply of 12 tokens had 2 dropped tokens"]


def test_a_finished_stream_takes_no_more_tokens(vocoder: Vocoder, voice: Voice) -> None:
    stream = vocoder.open(voice)
    vocoder.step([(stream, codes(9), True)])
    with pytest.raises(StreamError, match="open a new one"):
        vocoder.step([(stream, codes(9), False)])


@pytest.mark.parametrize("trim", ["upstream", "prompt"])
@shared
@given(st.lists(st.tuples(schedules, st.integers(1, 90)), min_size=1, max_size=3))
def test_a_wavefront_equals_single_chunks(trim: str, streams: list[tuple[list[int], int]]) -> None:
    """All chunks of all streams in one step, which solves them as a wavefront."""
    vocoder = vocoder_of(trim)
    voices = [make_voice(index, tokens) for index, tokens in ((0, 12), (1, 60), (2, 5))]
    parts = [
        cut(codes(count, seed=index), [3 * size for size in sizes]) for index, (sizes, count) in enumerate(streams)
    ]
    alone = [np.concatenate(speak(vocoder, voices[index], part, index)) for index, part in enumerate(parts)]
    opened = [vocoder.open(voices[index], seed=index) for index in range(len(parts))]
    requests = [
        (index, opened[index], part[turn], turn == len(part) - 1)
        for turn in range(max(map(len, parts)))
        for index, part in enumerate(parts)
        if turn < len(part)
    ]
    made = vocoder.step([(stream, tokens, last) for _, stream, tokens, last in requests])
    for index, one in enumerate(alone):
        together = [samples for (owner, *_), samples in zip(requests, made, strict=True) if owner == index]
        np.testing.assert_allclose(np.concatenate(together), one, atol=TOLERANCE)


@functools.cache
def vocoder_of(trim: str) -> Vocoder:
    return make_vocoder(trim=trim)


def test_no_tokens_after_the_last_within_a_step(vocoder: Vocoder, voice: Voice) -> None:
    stream: StreamState = vocoder.open(voice)
    with pytest.raises(StreamError, match="open a new one"):
        vocoder.step([(stream, codes(9), True), (stream, codes(9), False)])


def test_empty_steps_and_replies_give_nothing(vocoder: Vocoder, voice: Voice) -> None:
    assert vocoder.step([]) == []
    assert len(speak(vocoder, voice, [[]])[0]) == 0


def test_a_flood_of_tokens_is_cut_into_chunks(vocoder: Vocoder, voice: Voice) -> None:
    (samples,) = speak(vocoder, voice, [codes(450)])
    assert len(samples) == 450 * SAMPLES_PER_TOKEN


def test_prompts_longer_than_17_seconds_work(vocoder: Vocoder) -> None:
    """The reference's buffers end there."""
    (samples,) = speak(vocoder, make_voice(3, tokens=25 * 30), [codes(30)])
    assert len(samples) == 30 * SAMPLES_PER_TOKEN and np.abs(samples).max() > 0.0


def test_a_prompt_longer_than_the_noise_is_refused(voice: Voice) -> None:
    with pytest.raises(VoiceError, match="too long"):
        make_vocoder(noise=default_noise(160)).open(voice)


def test_int16_truncates_and_clips() -> None:
    pcm = to_int16(np.array([0.0, 0.99999, -0.99999, 2.0, -2.0], dtype=np.float32))
    assert pcm.tolist() == [0, 32766, -32766, 32767, -32767]
