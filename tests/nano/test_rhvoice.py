"""Labels for RHVoice's models: where a phone stands among phones, syllables and words."""

from __future__ import annotations

from scripts.nano.data.rhvoice import Segment, full_context

PAUSE = Segment("pau")
RED_WATER = [
    PAUSE,
    *(Segment(p, 0, 1, 1, 0, "content", "eh") for p in ("r", "eh", "d")),
    *(Segment(p, 1, 1, 0, 1, "content", "ao") for p in ("w", "ao")),
    *(Segment(p, 2, 0, 0, 1, "content", "er") for p in ("t", "er")),
    PAUSE,
]


def test_every_phone_knows_two_neighbours_on_each_side() -> None:
    labels = full_context(RED_WATER)
    assert [label.split("@")[0] for label in labels[:4]] == [
        "x^x-pau+r=eh",
        "x^pau-r+eh=d",
        "pau^r-eh+d=w",
        "r^eh-d+w=ao",
    ]
    assert labels[-1].startswith("t^er-pau+x=x@x_x")


def test_places_in_syllable_word_and_phrase() -> None:
    label = full_context(RED_WATER)[6]
    assert label == (
        "w^ao-t+er=pau@1_2/A:1_0_2/B:0-0-2@2-1&3-1#2-0$1-0!0-x;1-x|er/C:0+0+0/D:content_1/E:content+2@2+1&1+0#0+x"
        "/F:0_0/G:0_0/H:3=2^1=1|L-L%/I:0=0/J:3+2-1/K:3_2"
    )


def test_pauses_say_what_stands_beside_them() -> None:
    first, *_, last = full_context(RED_WATER)
    assert "/A:x_x_x/" in first and "/C:1+1+3/" in first and "/F:content_1/" in first
    assert "/A:0_0_2/" in last and "/D:content_2/" in last and last.endswith("/J:3+2-1/K:x_x")
