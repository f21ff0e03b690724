"""Show conversations of the domain, or write its text lists."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from scripts.nano.domain.scenes import INTENTS, Scene, draw_scene
from scripts.nano.domain.texts import reply_texts, word_list


def show(scene: Scene) -> None:
    """Print a conversation."""
    print(f"-- {scene.system or '(no instructions)'} [{', '.join(tool.name for tool in scene.tools)}]")
    for e in scene.exchanges:
        called = f"{e.call.name} {e.call.arguments} -> {e.result} | " if e.call else ""
        print(f"   {e.intent:16s} {e.user_text} | {called}{e.reply_text}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", type=int, default=0, help="print this many conversations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="folder for replies.txt and words.txt")
    parser.add_argument("--replies", type=int, default=0, help="write only so many, the most needed")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    for _ in range(args.show):
        show(draw_scene(rng, rng.choice((1, 1, 2, 3))))
    if args.write:
        args.write.mkdir(parents=True, exist_ok=True)
        replies = reply_texts(args.seed)[: args.replies or None]
        (args.write / "replies.txt").write_text("\n".join(replies) + "\n")
        (args.write / "words.txt").write_text("\n".join(word_list()) + "\n")
        print(f"replies {len(replies)}, words {len(word_list())}, intents {len(INTENTS)}")


if __name__ == "__main__":
    main()
