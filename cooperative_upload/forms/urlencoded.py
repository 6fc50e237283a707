"""urlencoded forms, parsed in steps between which others run.

parse_qsl() takes up to 0.8 seconds for a mebibyte of escapes (`%e4&%e4&...`), in which nobody else
would run. What is parsed here in steps is what Python's own gives in one go, pair by pair: a form
is divided at its separators, a long text where no escape is cut, and UTF-8 that is cut is decoded
by Python's incremental decoder. werkzeug puts the pairs into its MultiDict as they come.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, unquote_to_bytes

# Characters of one step: at 0.8 microseconds for each, about a slice.
_STEP = 1024


def runs_of(step: int) -> re.Pattern[str]:
    """Runs of ASCII characters, in which no escape is cut, or of others, which need none."""
    return re.compile(rf"(?:%[0-9a-fA-F]{{2}}|[\x00-\x7f]){{1,{step}}}|[^\x00-\x7f]{{1,{step}}}")


_RUN = runs_of(_STEP // len("%e4"))


def pairs_in_steps(
    text: str, errors: str, pause: Callable[[], object]
) -> Iterator[tuple[str, str]]:
    """As parse_qsl(text, keep_blank_values=True, errors=errors).

    pause: called between two steps.
    """
    start = 0
    while start < len(text):
        end = text.rfind("&", start, start + _STEP)
        if end < 0:  # one pair that is longer than a step, or the last
            end = text.find("&", start)
            end = len(text) if end < 0 else end
        piece = text[start:end]
        if len(piece) <= _STEP:
            yield from parse_qsl(piece, keep_blank_values=True, errors=errors)
        else:
            name, _, value = piece.partition("=")
            yield _unquoted(name, errors, pause), _unquoted(value, errors, pause)
        start = end + 1
        pause()


def _unquoted(text: str, errors: str, pause: Callable[[], object]) -> str:
    """As unquote_plus(text, errors=errors)."""
    text = text.replace("+", " ")
    if "%" not in text:
        return text
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    pieces = []
    for match in _RUN.finditer(text):
        run = match[0]
        if run.isascii():
            pieces.append(decoder.decode(unquote_to_bytes(run)))
        else:
            pieces += [decoder.decode(b"", final=True), run]
        pause()
    pieces.append(decoder.decode(b"", final=True))
    return "".join(pieces)
