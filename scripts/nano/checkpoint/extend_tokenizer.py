"""Teach a tokenizer the words of a grown domain without a new start: more merges behind the old ones.

What the old merges make stays as it was, so that weights trained with them go on; a new id starts as the mean of what
it is made of, and added tokens move up by name.

    python scripts/nano/checkpoint/extend_tokenizer.py --tokenizer old/ckpt --out new/ckpt \
        --mind old/join.pt --mind-out new/start.pt

Dependencies: torch, tokenizers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano import domain
from scripts.nano.checkpoint.build_tokenizer import QWEN_SPLIT, SCENES, corpus, write

Pieces = tuple[str, ...]


def more_merges(base: Tokenizer, texts: Iterator[str], most: int, least: int) -> list[tuple[str, str]]:
    """Learn merges that go on from those of `base`, up to `most` of them, for pairs seen at least `least` times."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(piece for piece, _ in base.pre_tokenizer.pre_tokenize_str(text))
    words: Counter[Pieces] = Counter()
    for piece, n in counts.items():
        words[tuple(token.value for token in base.model.tokenize(piece))] += n
    learnt: list[tuple[str, str]] = []
    known = base.get_vocab()
    while len(learnt) < most:
        pairs: Counter[tuple[str, str]] = Counter()
        for pieces, n in words.items():
            for pair in zip(pieces, pieces[1:], strict=False):
                pairs[pair] += n
        best = [p for p, n in pairs.most_common(200) if n >= least and "".join(p) not in known]
        if not best:
            break
        learnt.append(best[0])
        known["".join(best[0])] = -1
        words = _remerged(words, best[0])
    return learnt


def _remerged(words: Counter[Pieces], pair: tuple[str, str]) -> Counter[Pieces]:
    out: Counter[Pieces] = Counter()
    for pieces, n in words.items():
        out[_merged(pieces, pair)] += n
    return out


def _merged(pieces: Pieces, pair: tuple[str, str]) -> Pieces:
    out: list[str] = []
    for piece in pieces:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return tuple(out)


def load(folder: Path) -> tuple[Tokenizer, list[tuple[str, str]]]:
    """Read a tokenizer folder: its byte-level BPE without added tokens, and the merges."""
    merges = [
        (line.split(" ")[0], line.split(" ")[1])
        for line in (folder / "merges.txt").read_text("utf-8").splitlines()
        if line and not line.startswith("#version")
    ]
    vocab = json.loads((folder / "vocab.json").read_text("utf-8"))
    return assemble(vocab, merges), merges


def assemble(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """Put a byte-level BPE together."""
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def moved_embeddings(table: torch.Tensor, old: Path, new: Path) -> torch.Tensor:
    """Rows for the ids of tokenizer folder `new`, from the table [V, D] for those of `old`."""
    old_vocab, new_vocab = (json.loads((f / "vocab.json").read_text("utf-8")) for f in (old, new))
    old_added, new_added = (json.loads((f / "added_tokens.json").read_text("utf-8")) for f in (old, new))
    base, _ = load(old)
    out = torch.zeros(max(new_added.values()) + 1, table.shape[1])
    for name, id_ in new_added.items():
        out[id_] = table[old_added[name]]
    for piece, id_ in new_vocab.items():
        if piece in old_vocab:
            out[id_] = table[old_vocab[piece]]
        else:
            parts = [token.id for token in base.model.tokenize(piece)]
            out[id_] = table[parts].mean(0) + 0.02 * torch.randn(table.shape[1]) * table.any(0)
    return out


def main() -> None:
    """Write the extended tokenizer and, where asked for, the weights that fit it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--merges", type=int, default=1500, help="at most so many more")
    parser.add_argument("--least", type=int, default=12, help="only pairs that were seen so often")
    parser.add_argument("--mind", type=Path, help="checkpoint of train_lm.py for the old tokenizer")
    parser.add_argument("--mind-out", type=Path)
    parser.add_argument("--scenes", type=int, default=SCENES, help="conversations to learn from")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    base, merges = load(args.tokenizer)
    if not (args.out / "added_tokens.json").exists():
        learnt = more_merges(base, corpus(args.seed, args.scenes), args.merges, args.least)
        vocab = dict(base.get_vocab())
        for pair in learnt:
            vocab["".join(pair)] = len(vocab)
        total = write(assemble(vocab, [*merges, *learnt]), args.out)
        tokenizer, _ = load(args.out)
        split = [w for w in domain.word_list() if len(tokenizer.model.tokenize("Ġ" + w)) > 1]
        print(f"{total} tokens, {len(learnt)} new merges; {len(split)} words of several tokens: {' '.join(split)}")
    if args.mind and args.mind_out:
        state = torch.load(args.mind, weights_only=True)["mind"]
        name = "lm.embed_tokens.weight"
        state[name] = moved_embeddings(state[name], args.tokenizer, args.out)
        torch.save({"mind": state, "step": 0, "spent": 0.0}, args.mind_out)
        print(f"{args.mind_out}: {len(state[name])} ids")


if __name__ == "__main__":
    main()
