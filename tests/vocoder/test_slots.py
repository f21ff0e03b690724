"""What stays in the solver's cache, against a plain retelling of the rule in lists of frames."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming_vocoder.solver_cache import CHUNK_ROOM, RECENT_FRAMES, SolverCache, TrimRule

chunk_sizes = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def run(rule: TrimRule, prompt: int, chunks: list[int]) -> tuple[SolverCache, list[list[int]]]:
    """Pushes frames numbered 0, 1, ... (their number is their key); gives the cache and the frames kept
    after each chunk."""
    empty = torch.empty(1, 1, 2, 2, 1, 0, 1)
    cache = SolverCache(empty, empty, rule)
    frame = 0
    kept: list[list[int]] = []
    for index, count in enumerate([prompt, *chunks]):
        slots = cache.reserve(count)
        cache.move(slots)
        assert len(set(slots.new)) == count
        cache.own[0, 0, 0, 0, 0, slots.new, 0] = torch.arange(frame, frame + count).float()
        own_seen = len(cache) - cache.prompt_seen + count
        shared, own = cache.prompt[0, 0, 0, 0, 0, : cache.prompt_seen, 0], cache.own[0, 0, 0, 0, 0, :own_seen, 0]
        seen = torch.cat((shared, own)).int().tolist()
        assert len(set(seen)) == len(seen), "attention must see every kept frame once, and nothing else"
        assert sorted(seen) == sorted((kept[-1] if kept else []) + list(range(frame, frame + count)))
        cache.commit(slots)
        if index == 0:
            cache = cache.snapshot().fork()
        kept.append(cache.frames(0, 0)[0, 0, 0, :, 0].int().tolist())
        frame += count
    return cache, kept


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 150), chunk_sizes)
def test_upstream_rule_keeps_the_reference_order(prompt: int, chunks: list[int]) -> None:
    _, kept = run("upstream", prompt, chunks)
    frames = list(range(prompt))
    start = prompt
    for count, made in zip(chunks, kept[1:], strict=True):
        frames = list(range(start, start + count)) + frames  # the new chunk goes before the old cache
        if len(frames) > prompt + RECENT_FRAMES:
            frames = frames[:prompt] + frames[-RECENT_FRAMES:]
        start += count
        assert made == frames


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 150), chunk_sizes)
def test_prompt_rule_keeps_the_prompt_and_the_newest(prompt: int, chunks: list[int]) -> None:
    _, kept = run("prompt", prompt, chunks)
    total = prompt
    for count, made in zip(chunks, kept[1:], strict=True):
        total += count
        assert made == list(range(prompt)) + list(range(max(prompt, total - RECENT_FRAMES), total))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["upstream", "prompt"]), st.integers(2, 150), chunk_sizes)
def test_slots_stay_within_what_the_largest_chunk_needs(rule: TrimRule, prompt: int, chunks: list[int]) -> None:
    cache, _ = run(rule, prompt, chunks)
    kept = RECENT_FRAMES if rule == "prompt" else max(prompt, RECENT_FRAMES)
    assert cache.own.shape[5] <= kept + max(CHUNK_ROOM, *chunks)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["upstream", "prompt"]), st.integers(2, 150), chunk_sizes)
def test_the_prompt_is_never_written_to(rule: TrimRule, prompt: int, chunks: list[int]) -> None:
    cache, _ = run(rule, prompt, chunks)
    late = min(RECENT_FRAMES, prompt)
    assert cache.prompt.flatten().tolist()[:prompt] == [*range(prompt - late, prompt), *range(prompt - late)]
