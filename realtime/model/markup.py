"""Keeps the model's markup out of a reply's words: names of special tokens, and what is left of a broken tool call.

A model may begin a call without its tag, as in ``}function down {"style": "calm"}</tool_call>``.
Neither the user nor the transcript may see that. Text is passed on as soon as it cannot be the beginning of markup.

1. The name of a special token is left out. From ``<tool_call>`` on, everything is.
2. ``function``, a name and ``{"`` (or ``{`` alone, each on its line) begin a call: it is left out up to the brace that
   closes its arguments.
3. An object in braces is left out if ``</tool_call>`` follows it; else it is an answer in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_CALL, _CALL_END = "<tool_call>", "</tool_call>"
_SPEECH_CODE = re.compile(r"<audio_\w{1,4}>")
_SPEECH_CODE_BEGUN = re.compile(r"<audio_\w{0,4}")
_CANDIDATE = re.compile(r"[<{}\]]|(?<!\w)f")

_HEADER = r"[}\]\s]*function\s+[\w.\-]{1,64}\s*"
_CALL_BEGUN = re.compile(_HEADER + r'(?=\{\s*")|[}\]\s]*function\n[\w.\-]{1,64}\n(?=\{)')
_part = r"(?:\s+(?:[\w.\-]{1,64}\s*(?:\{\s*)?)?)?"
for _letter in reversed("function"):
    _part = f"(?:{_letter}{_part})?"
_MAY_BEGIN_CALL = re.compile(r"[}\]\s]*" + _part)
_OBJECT_BEGUN = re.compile(r'\{\s*"')
_MAY_BEGIN_OBJECT = re.compile(r"\{\s*")


class MarkupFilter:
    """A reply's text as it comes -> the text without markup. ``dropped``: how often something was left out."""

    def __init__(self, names: Collection[str]) -> None:
        """``names``: of the tokenizer's special tokens, without speech codes."""
        self._names = names
        self._text = ""
        self._object: _Object | None = None
        self._calling = False  # the object being read is the arguments of a call
        self._over = False
        self.dropped = 0

    @property
    def holding(self) -> bool:
        """Whether text is held back that may be markup."""
        return bool(self._text) or self._calling

    def push(self, text: str) -> str:
        """More of the reply's text -> what is certainly no markup."""
        if not self._over:
            self._text += text
        return self._run(last=False)

    def finish(self) -> str:
        """What was held back and is no markup, when nothing more comes."""
        return self._run(last=True)

    def _run(self, *, last: bool) -> str:
        passed = ""
        while self._text:
            if self._object is None and not self._calling:
                found = _CANDIDATE.search(self._text)
                at = found.start() if found else len(self._text)
                passed, self._text = passed + self._text[:at], self._text[at:]
            before = len(self._text)
            passed += self._step(last)
            if len(self._text) == before:
                break
        if last:
            self._calling, self._object, self._text = False, None, ""
        return passed

    def _step(self, last: bool) -> str:
        """Decide on what the text begins with; gives what is passed on. Leaves it all where more is needed."""
        text = self._text
        if self._calling or _OBJECT_BEGUN.match(text):
            return self._read_object(last)
        if (begun := _CALL_BEGUN.match(text)) is not None:
            self._drop(begun.end())
            self._calling = True
            return ""
        if text[:1] == "<":
            return self._read_tag(last)
        begins_object = _MAY_BEGIN_OBJECT.fullmatch(text) is not None
        if not last and (begins_object or _MAY_BEGIN_CALL.fullmatch(text)):
            return ""
        return self._pass(1)

    def _read_tag(self, last: bool) -> str:
        text = self._text
        code = _SPEECH_CODE.match(text)
        name = code.group() if code else next((name for name in self._names if text.startswith(name)), None)
        if name == _CALL:
            self._drop(len(text))
            self._over = True
        elif name is not None:
            self._drop(len(name))
        elif not self._may_be_tag(text):
            return self._pass(1)
        elif last:
            if len(text) == 1:
                return self._pass(1)
            self._drop(len(text))
        return ""

    def _may_be_tag(self, text: str) -> bool:
        """Whether more text may make a name of it."""
        code = "<audio_".startswith(text) or _SPEECH_CODE_BEGUN.fullmatch(text) is not None
        return code or any(name.startswith(text) for name in self._names)

    def _read_object(self, last: bool) -> str:
        self._object = self._object or _Object()
        end = self._object.end(self._text)
        if end is None:
            if self._calling and last:
                self._drop(len(self._text))
            return self._pass(len(self._text)) if last and not self._calling else ""
        behind = self._text[end:].lstrip()
        closed = behind.startswith(_CALL_END)
        if not closed and not last and _CALL_END.startswith(behind):
            return ""
        calling, self._calling, self._object = self._calling, False, None
        if closed:
            self._drop(len(self._text) - len(behind) + len(_CALL_END))
        elif calling:
            self._drop(end)
        else:
            return self._pass(end)
        return ""

    def _pass(self, count: int) -> str:
        passed, self._text = self._text[:count], self._text[count:]
        return passed

    def _drop(self, count: int) -> None:
        self.dropped += 1
        self._text = self._text[count:]


class _Object:
    """Finds the brace that closes a JSON object, reading each character once."""

    def __init__(self) -> None:
        self._at = 0
        self._depth = 0
        self._in_string = self._escaped = False
        self._end: int | None = None

    def end(self, text: str) -> int | None:
        """Where the object at the beginning of ``text`` ends; None: not yet."""
        while self._end is None and self._at < len(text):
            self._read(text[self._at])
            self._at += 1
            if not self._depth:
                self._end = self._at
        return self._end

    def _read(self, letter: str) -> None:
        if self._in_string:
            self._in_string = self._escaped or letter != '"'
            self._escaped = letter == "\\" and not self._escaped
        elif letter == '"':
            self._in_string = True
        else:
            self._depth += (letter == "{") - (letter == "}")
