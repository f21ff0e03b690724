"""Train nano's byte-level BPE on the domain's texts and write it in the official Qwen2 layout.

Base tokens first, then the 22 names that Qwen2.5 adds, the 31 names of Step-Audio 2 in their order, then the speech
codes <audio_0>..<audio_6561> (spec: the same names as the official tokenizer, other ids).

    python scripts/nano/checkpoint/build_tokenizer.py --out realtime/checkpoints/nano
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.ports.tool_calls import AFTER_TOOL_RESULT, render_tool_call, tool_schemas
from scripts.nano import domain
from scripts.nano.data.input_speech import common_words
from scripts.nano.data.out_of_domain import outside_sentences
from scripts.nano.domain.tools import schemas

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
QWEN_ADDED = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> "
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|>"
).split()
QWEN_PLAIN = frozenset(QWEN_ADDED[14:])
"""Of the Qwen names, those that are ordinary text for a decoder that skips special tokens."""
STEP_ADDED = (
    "<|EOT|> <|BOT|> <|CALL_START|> <|CALL_END|> <|THINK_START|> <|THINK_END|> <|IMG_START|> <|IMG_END|> "
    "<|META_START|> <|META_END|> <im_patch> <im_start> <im_end> <dream> <dream_start> <dream_end> <|MASK_1e69f|> "
    "<|UNMASK_1e69f|> <video_start> <video_end> <patch_start> <patch_end> <patch_newline> <audio_start> <audio_end> "
    "<audio_patch> <audio_patch_pad> <|SC|> <tts_start> <tts_end> <tts_pad>"
).split()
SPEECH_CODES = 6562
OPEN_WORDS = 4000
"""Common words that become tokens of their own, or nearly: a word of three would come later than its speech."""
SCENES = 12_000
"""Conversations that the merges are learnt from."""
ROLES = "system human assistant tool_json_schemas input function_output".split()


def corpus(seed: int, scenes: int) -> Iterator[str]:
    """Yield what is read and written in conversations; known words are repeated so that each becomes one token."""
    rng = random.Random(seed)
    for _ in range(scenes):
        scene = domain.draw_scene(rng, rng.choice((1, 2)))
        yield scene.system or ""
        if scene.tools:
            yield str(tool_schemas(schemas(scene.tools)).content)
        for exchange in scene.exchanges:
            yield "human\n" + exchange.user_text
            yield exchange.reply_text
            if exchange.call:
                yield render_tool_call(exchange.call)
                yield exchange.result
    for text in (*domain.TIMELESS_PROMPTS, domain.INSTRUCTIONS, domain.TRANSCRIBE, AFTER_TOOL_RESULT):
        yield from [text] * 20
    for role in ROLES:
        yield from [f"{role}\n"] * 100
    for word in domain.word_list():
        yield from [f" {word}"] * 30
        yield from [f" {word[0].upper()}{word[1:]}\n{word[0].upper()}{word[1:]}"] * 4
    yield from open_corpus()


def open_corpus() -> Iterator[str]:
    """Yield English of any subject, as it is written down and as it is read aloud, and the common words of it."""
    for sentence in outside_sentences():
        yield " " + sentence
        yield domain.sentence(sentence)
    for rank, word in enumerate(common_words(OPEN_WORDS)):
        yield from [f" {word}"] * max(4, 40 - rank // 100)


def train(merges: int, scenes: int, seed: int) -> Tokenizer:
    """Learn the merges from so many conversations. Returns a tokenizer without the added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus(seed, scenes), trainer)
    return tokenizer


def write(tokenizer: Tokenizer, out: Path) -> int:
    """Write vocab.json, merges.txt, added_tokens.json, tokenizer_config.json. Returns the number of all tokens."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(out))
    base = tokenizer.get_vocab_size()
    names = [*QWEN_ADDED, *STEP_ADDED, *(f"<audio_{k}>" for k in range(SPEECH_CODES))]
    ids = {name: base + i for i, name in enumerate(names)}
    special = set(names) - QWEN_PLAIN
    config: dict[str, Any] = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(i): {
                "content": name,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": name in special,
            }
            for name, i in ids.items()
        },
        "additional_special_tokens": STEP_ADDED,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "errors": "replace",
        "model_max_length": 4096,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    for file, content in (("added_tokens.json", ids), ("tokenizer_config.json", config)):
        (out / file).write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    return base + len(names)


def main() -> None:
    """Train and write the tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--merges", type=int, default=3400)
    parser.add_argument("--scenes", type=int, default=SCENES, help="conversations to learn from")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tokenizer = train(args.merges, args.scenes, args.seed)
    total = write(tokenizer, args.out)
    split = [w for w in domain.word_list() if len(tokenizer.encode(f" {w}").ids) > 1]
    print(f"{total} tokens, {args.merges} merges; {len(split)} words of several tokens: {' '.join(split[:20])}")


if __name__ == "__main__":
    main()
