"""The modules as training uses them, and that streaming computes the function that was trained."""

from __future__ import annotations

import pytest
import torch

from streaming_vocoder.conformer_stream import StreamingEncoder
from streaming_vocoder.dit_stream import SolverInput, StreamingSolver
from streaming_vocoder.flow import block_mask, default_noise, time_grid
from tests.vocoder.conftest import SIZES, codes, make_flow, make_hift

TOLERANCE = 2e-5


def test_flow_loss_reaches_every_weight() -> None:
    torch.manual_seed(0)
    flow = make_flow().train()
    mel, tokens, speaker = torch.randn(6, 20, 80), torch.randint(0, 40, (6, 10)), torch.randn(6, 192)
    lengths, prompt = torch.tensor([20, 20, 16, 12, 20, 20]), torch.tensor([0, 4, 8, 2, 6, 0])
    loss = flow(mel, tokens, speaker, lengths=lengths, prompt_frames=prompt, chunk_tokens=2)
    (loss.velocity + 0.3 * loss.mu).backward()
    for name, weight in flow.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.any(), name


def test_padding_does_not_reach_the_loss() -> None:
    flow = make_flow()
    mel, tokens, speaker = torch.randn(2, 20, 80), torch.randint(0, 40, (2, 10)), torch.randn(2, 192)
    lengths = torch.tensor([20, 12])
    losses = []
    for filler in (0.0, 50.0):
        mel[1, 12:] = filler
        tokens[1, 9:] = int(filler) % 40  # the look-ahead convolution sees three tokens: 6, 7, 8
        torch.manual_seed(5)
        losses.append(flow(mel, tokens, speaker, lengths=lengths))
    torch.testing.assert_close(losses[0].velocity, losses[1].velocity)
    torch.testing.assert_close(losses[0].mu, losses[1].mu)


def test_the_velocity_loss_excludes_prompt_frames() -> None:
    tokens, speaker = torch.randint(0, 40, (1, 10)), torch.randn(1, 192)
    for prompt, learns in ((18, True), (20, False)):
        loss = make_flow()(torch.randn(1, 20, 80), tokens, speaker, prompt_frames=torch.tensor([prompt]))
        assert bool(loss.velocity > 0.0) is learns


def test_block_mask_hides_the_future_and_the_padding() -> None:
    mask = block_mask(6, 2, torch.tensor([1]), torch.tensor([5]))
    assert mask is not None
    assert mask[0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 1],
    ]
    assert block_mask(6) is None


def test_the_time_grid_is_the_cosine() -> None:
    expected = [0, 0.0123116, 0.0489435, 0.1089935, 0.1909830, 0.2928932, 0.4122148, 0.5460095, 0.6909831, 0.8435655, 1]
    torch.testing.assert_close(time_grid(10), torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("chunk_tokens", [4, 5, 12])
@torch.inference_mode()
def test_streaming_encoder_equals_the_masked_encoder(chunk_tokens: int) -> None:
    flow = make_flow()
    tokens = torch.tensor(codes(24))
    whole = flow.encode(tokens[None], block_mask(48, 2 * chunk_tokens))[0]
    encoder = StreamingEncoder(flow, window_frames=1000)
    state, parts = encoder.fresh_state(), []
    for start in range(0, 24, chunk_tokens):
        last = start + chunk_tokens >= 24
        part = tokens[start:] if last else tokens[start : start + chunk_tokens + encoder.lookahead]
        parts += encoder.step([state], [part], [last])
    torch.testing.assert_close(torch.cat(parts), whole, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("chunk", [4, 8, 20])
@torch.inference_mode()
def test_streaming_equals_masked_solver_before_trimming(chunk: int) -> None:
    flow, noise = make_flow(), default_noise(300)
    prompt, frames = 12, 40
    mu, speaker = torch.randn(1, prompt + frames, 80), torch.randn(1, 80)
    cond = torch.zeros_like(mu)
    cond[:, :prompt] = torch.randn(1, prompt, 80)
    mask = block_mask(prompt + frames, chunk, torch.tensor([prompt]))
    start = noise[:, :, : prompt + frames].transpose(1, 2)
    whole = flow.decoder.solve(start, mu, speaker, cond, 3, mask)[0]
    solver = StreamingSolver(flow, 3, noise, "upstream")
    state, row = solver.fresh_state(), solver.speaker_row(speaker[0])
    parts = solver.step([SolverInput(state, mu[0, :prompt], row, cond[0, :prompt])])
    state = state.snapshot().fork()
    for part in torch.split(mu[0, prompt:], chunk):
        parts += solver.step([SolverInput(state, part, row)])
    torch.testing.assert_close(torch.cat(parts), whole, atol=TOLERANCE, rtol=0)


def test_hift_parts_are_differentiable_apart() -> None:
    hift = make_hift()
    mel, f0 = torch.randn(2, 80, 9), torch.full((2, 9), 120.0)
    wave = hift.decode(mel, hift.m_source(f0, torch.randn(2, 9 * 480, 1)))
    assert wave.shape == (2, 9 * 480)
    (wave.square().mean() + hift.f0_predictor(mel).mean()).backward()
    for name, weight in hift.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name


@torch.inference_mode()
def test_one_noise_draw_has_the_same_distribution() -> None:
    source = make_hift().m_source
    source.l_linear.weight.data *= 0.1  # far from where tanh bends
    f0 = torch.zeros(1, 200)
    spread = [(source(f0, torch.randn(1, 200 * 480, count)) - source(f0, None)).std() for count in (1, 9)]
    torch.testing.assert_close(spread[0], spread[1], rtol=0.03, atol=0.0)


def test_sizes_of_the_fixture_are_not_the_defaults() -> None:
    assert SIZES.flow.encoder.output_size != SIZES.flow.estimator.num_heads * SIZES.flow.estimator.head_dim
