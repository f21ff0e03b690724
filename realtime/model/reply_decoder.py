"""A reply's ids as they come -> its words, its speech codes and the ids to remember, without markup.

The words end where the spoken part or the tool call does (`realtime.model.interleave.Demultiplexer`). Markup in them
(`realtime.model.markup`) is left out of the text, and in a spoken reply the speech ends with the words before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from realtime.model.interleave import GROUP_SPEECH_IDS, Demultiplexer
from realtime.model.markup import MarkupFilter
from realtime.model.tokenizer import TextStream, TextTokenizer
from realtime.model.tokens import SpecialTokens, TokenKind
from realtime.model.word_timing import CODES_PER_LETTER


@dataclass(frozen=True, slots=True)
class ReplyDelta:
    """What new ids add to a reply: whole characters to show or say, codes for the vocoder, ids for the history."""

    text: str = ""
    speech_codes: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()


@dataclass(slots=True)
class _Passed:
    """What is passed on by one call."""

    text: str = ""
    codes: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)


class ReplyDecoder:
    """Decodes one reply. Holds back unfinished characters, and ids while their text may be markup."""

    def __init__(self, tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._channels = Demultiplexer(tokens)
        self._text = TextStream(tokenizer)
        self._markup = MarkupFilter(tokenizer.markup_names)
        self._rest: list[int] = []
        self._held: list[int] = []
        self._letters = self._codes = 0
        self._spoken = False
        self._codes_left: int | None = None  # once markup has been found: how much of the words' speech is to come

    def push(self, ids: Iterable[int]) -> ReplyDelta:
        """The next ids of the reply."""
        passed = _Passed()
        for id_ in ids:
            self._push(id_, passed)
        return ReplyDelta(passed.text, tuple(passed.codes), tuple(passed.ids))

    def finish(self) -> ReplyDelta:
        """What was held back; call once, after the last id."""
        passed = _Passed()
        self._finish_words(passed)
        return ReplyDelta(passed.text, tuple(passed.codes), tuple(passed.ids))

    @property
    def in_rest(self) -> bool:
        """Whether the spoken part, or a written reply's words, are over."""
        return self._channels.in_rest

    @property
    def has_markup(self) -> bool:
        """Whether something was left out."""
        return bool(self._markup.dropped)

    @property
    def rest(self) -> str:
        """The text behind the words: tool calls for `realtime.ports.tool_calls.parse_tool_calls`."""
        return self._tokenizer.decode(id_ for id_ in self._rest if id_ not in self._tokens.stop_ids)

    def _push(self, id_: int, passed: _Passed) -> None:
        was_in_rest = self._channels.in_rest
        split = self._channels.push((id_,))
        if self._channels.in_rest:
            if not was_in_rest:
                self._finish_words(passed)
            self._rest += split.rest
            passed.ids.append(id_)
        elif split.text:
            self._push_text(id_, passed)
        else:
            self._spoken |= self._tokens.kind(id_) in (TokenKind.SPEECH, TokenKind.PADDING)
            if self._markup.holding:
                self._held.append(id_)
            else:
                self._pass(id_, passed)

    def _push_text(self, id_: int, passed: _Passed) -> None:
        found = self._markup.dropped
        text = self._markup.push(self._text.push(id_))
        self._pass_text(text, passed)
        self._held.append(id_)
        if self._markup.dropped > found:
            self._leave_out(passed)
        elif not self._markup.holding:
            self._pass_held(passed)

    def _finish_words(self, passed: _Passed) -> None:
        found = self._markup.dropped
        text = self._markup.push(self._text.finish()) + self._markup.finish()
        self._pass_text(text, passed)
        if self._markup.dropped > found:
            self._leave_out(passed)
        else:
            self._pass_held(passed)

    def _pass_text(self, text: str, passed: _Passed) -> None:
        if self._codes_left is None or not self._spoken:  # in speech, no words behind markup
            passed.text += text
            self._letters += len(text)

    def _pass_held(self, passed: _Passed) -> None:
        held, self._held = self._held, []
        for id_ in held:
            self._pass(id_, passed)

    def _leave_out(self, passed: _Passed) -> None:
        """What was held is markup, but for the speech of the words before it, which their text runs ahead of."""
        missing = max(0, int(CODES_PER_LETTER * self._letters) - self._codes)
        if self._codes_left is None:
            self._codes_left = missing - missing % -GROUP_SPEECH_IDS if self._letters else 0
        held, self._held = self._held, []
        for id_ in held:
            if self._tokens.kind(id_) is not TokenKind.TEXT:
                self._pass(id_, passed)

    def _pass(self, id_: int, passed: _Passed) -> None:
        kind = self._tokens.kind(id_)
        if self._codes_left is not None and self._spoken:
            if self._codes_left <= 0:
                return
            self._codes_left -= kind is TokenKind.SPEECH
            id_ = self._tokens.tts_pad if kind is TokenKind.TEXT else id_
        passed.ids.append(id_)
        if kind is TokenKind.SPEECH:
            self._codes += 1
            passed.codes.append(self._tokens.speech_code(id_))
