"""What tests of more than one package share."""

from __future__ import annotations

import pytest

from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from tests.model.samples import write_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    """A small tokenizer with all special tokens, read from its files."""
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return TextTokenizer.load(folder)


@pytest.fixture(scope="session")
def tokens(tokenizer: TextTokenizer) -> SpecialTokens:
    """The ids of that tokenizer's special tokens."""
    return SpecialTokens.from_ids(tokenizer.ids)
