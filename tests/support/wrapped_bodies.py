"""Bodies for the application that is wrapped: a form with files of each kind, and raw bytes."""

from __future__ import annotations

from http_client import FORM_TYPE, Part, content, form

CHUNKED = {"Transfer-Encoding": "chunked"}
CHUNKED_FORM = {**CHUNKED, "Content-Type": FORM_TYPE}

LARGE = Part("file", content(3_000_000), "large.bin")
PARTS = [
    Part("title", b"a title"),
    LARGE,
    Part("empty", b"", "empty.bin"),
    Part("small", content(100_000, seed=1), "small.bin"),
]
FORM = form(*PARTS)
DATA = content(2_000_000)
