"""Multipart bodies (RFC 7578) that Hypothesis makes up, sound and broken."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from generated_bodies import (
    BLOCK,
    Edit,
    Literal,
    Padding,
    Piece,
    Run,
    edited,
    edits,
    joined,
    kinds_of_runs,
    large_runs,
    literals,
    pieces,
)
from hypothesis import strategies as st


@dataclass(frozen=True)
class FormPart:
    """One part. `head` has its own line ends; the empty line behind it is the form's."""

    head: bytes
    content: list[Piece]


@dataclass(frozen=True)
class Form:
    """A multipart body."""

    boundary: bytes
    line_end: bytes
    preamble: list[Piece]
    parts: list[FormPart]
    closing: bytes
    epilogue: bytes
    changes: list[Edit]

    @property
    def body(self) -> bytes:
        delimiter = b"--" + self.boundary
        found = [*self.preamble]
        for part in self.parts:
            opening = delimiter + self.line_end + part.head + 2 * self.line_end
            found += [Literal(opening), *part.content, Literal(self.line_end)]
        found += [Literal(delimiter + self.closing), Literal(self.epilogue)]
        return edited(joined(found), self.changes)


_NAMES = [
    *('name="f"', 'name="a b"', 'name=""', "name=token", 'name="ünï"', 'name="%22q%22"'),
    *('name="back\\\\slash"', 'name="esc\\"aped"', 'name="' + "n" * 300 + '"', "", 'name="open'),
    *("name*=UTF-8''%e2%82%ac", "name*=bogus''x", 'NAME="f"', 'name="a"; name="b"', "name=f;;;x"),
    "\t name = f",
]
_FILE_NAMES = [
    *('filename="a.txt"', 'filename=""', "filename=token", 'filename="q\\"uo;te.txt"'),
    *('filename="C:\\\\dir\\\\a.txt"', 'filename="日本 語.png"', 'filename="../../etc"'),
    *("filename*=UTF-8''na%C3%AFve%20file.txt", "filename*0=a; filename*1=b", 'filename="open'),
    *("filename=", 'filename="a%00b"', "filename*=latin-9''x"),
]
_OTHER_DISPOSITIONS = [b"Content-Disposition:", b"X: y", b'content-disposition: a; name="b"']
_MORE_HEADERS = [
    *(b"Content-Type: text/plain", b"Content-Type: text/plain; charset=iso-8859-1"),
    *(b"Content-Type: text/plain; charset=utf-16", b"Content-Type: ;;;", b"content-type:x"),
    *(b"Content-Length: 0", b"Content-Length: 1", b"Content-Length: 99999999999999"),
    *(b"Content-Length: -5", b"Content-Length: abc", b"Content-Length: \xd9\xa3"),
    *(b"Content-Transfer-Encoding: base64", b"X-Folded: a\r\n\tb", b"no colon", b": no name"),
    *(b"X-Latin: \xe9", b"X-Long: " + b"l" * 5000, b"X: \x00", b" leading space: x"),
    b"Content-Disposition: form-data; name=second",
]


def head_of_part(
    name: str, file_name: str | None, instead: bytes | None, more: list[bytes], line_end: bytes
) -> bytes:
    words = ["Content-Disposition: form-data", name, *([] if file_name is None else [file_name])]
    disposition = "; ".join(words).encode() if instead is None else instead
    return line_end.join([*more[:1], disposition, *more[1:]])


heads_of_parts = st.builds(
    head_of_part,
    st.sampled_from(_NAMES),
    st.one_of(st.none(), st.sampled_from(_FILE_NAMES)),
    st.sampled_from([None] * 12 + _OTHER_DISPOSITIONS),
    st.lists(st.sampled_from(_MORE_HEADERS), max_size=2),
    st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r"]),
)

_OTHER_CLOSINGS = [b"--", b"--\n", b"-- \r\n", b"\r\n", b"", b"-"]
BOUNDARIES = [
    *(b"b", b"--b-", b"----WebKitFormBoundary7MA4YWxkTrZu0gW", b"a.b+c(d)*?[e]", b"x" * 70),
    *(b"long" * 60, b"a b", b"-", b"'()+_,-./:=?"),
]


def almost_delimiters(boundary: bytes) -> st.SearchStrategy[Piece]:
    """What is no delimiter, or not yet one, or one that nobody wanted."""
    delimiter = b"\r\n--" + boundary
    return st.one_of(
        st.integers(1, len(delimiter)).map(lambda size: Literal(delimiter[:size])),
        literals(
            *(delimiter + b"x", delimiter + b"-", delimiter + b" \t", b"--" + boundary),
            *(delimiter[1:], delimiter + b"\r\n", delimiter + b"--", delimiter + b"--\r\n"),
            *(b"--" + boundary + b"--", delimiter[:-1] + b"\r\n--" + boundary[:1]),
        ),
    )


@functools.cache  # making a strategy takes longer than drawing from it
def forms_with(boundary: bytes, block: int) -> st.SearchStrategy[Form]:
    delimiter = b"--" + boundary
    padding = st.builds(Padding, st.just(block), st.integers(-len(delimiter) - 6, 3))
    runs = st.builds(Run, kinds_of_runs, st.integers(0, 20 * block))
    large = large_runs if block == BLOCK else runs
    content = pieces(almost_delimiters(boundary), padding, padding, large=large)
    return st.builds(
        Form,
        boundary=st.just(boundary),
        line_end=st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r"]),
        preamble=st.one_of(st.just([]), st.just([]), content),
        parts=st.lists(st.builds(FormPart, heads_of_parts, content), max_size=4),
        closing=st.sampled_from([b"--\r\n"] * 16 + _OTHER_CLOSINGS),
        epilogue=st.sampled_from([b"", b"", b"epilogue", b"\r\n", delimiter + b"\r\n"]),
        changes=edits(delimiter, b"\r\n" + delimiter, b"\r\n\r\n", b"--"),
    )


def forms(block: int = BLOCK) -> st.SearchStrategy[Form]:
    """Forms, some of them broken.

    block: what they are made of often begins near the end of a block of so many bytes.
    """
    return st.sampled_from(BOUNDARIES).flatmap(lambda boundary: forms_with(boundary, block))
