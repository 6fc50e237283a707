"""stream_parts(): forms that are read part by part."""

from __future__ import annotations

import io
import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from streamed import DATA, FORM, Run, form
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.formparser import FormDataParser
from wsgi import environ

from cooperative_upload.errors import BodyTooLarge, IncompleteBody, MalformedBody
from cooperative_upload.forms.streaming import receive, stream_parts
from cooperative_upload.settings import UploadSettings


def test_parts(run: Run) -> None:
    """Names, headers and content, in their order; but for file inputs without a file."""
    body = form(
        ("unused", "", b""),
        ("title", None, b"a title"),
        ("file", "a.bin", DATA),
        ("unused", "", b""),
        ("nameless", "", b"x"),
        ("empty", "empty", b""),
        ("unused", "", b""),
    )

    def read() -> list[Any]:
        return [
            (part.name, part.filename, part.headers["X-Of"], part.read())
            for part in stream_parts(environ(body, CONTENT_TYPE=FORM))
        ]

    assert run(read) == [
        ("title", None, "title", b"a title"),
        ("file", "a.bin", "file", DATA),
        ("nameless", "", "nameless", b"x"),
        ("empty", "empty", "empty", b""),
    ]


def test_ways_to_read_a_part(run: Run) -> None:
    """Exact reads, lines and blocks; what is not read is skipped."""
    text = b"first\nsecond\nthird"
    body = form(*[(f"part{number}", "f", text + DATA) for number in range(5)])

    def read() -> None:
        parts = stream_parts(environ(body, CONTENT_TYPE=FORM))
        one = next(parts)
        assert one.readline() == b"first\n"
        assert one.read(6) == b"second"
        two = next(parts)
        assert two.readlines(1) == [b"first\n"]
        three = next(parts)
        assert b"".join(three.blocks()) == text + DATA
        assert three.read() == three.read(5) == b""
        four = next(parts)
        assert next(four) == b"first\n"
        assert max(map(len, four.blocks())) <= 64 * 1024
        assert next(parts).name == "part4"
        assert list(parts) == []

    run(read)


def test_fields(run: Run) -> None:
    """As text, up to a bound."""
    body = form(("a", None, "ümlaut".encode()), ("b", None, b"x" * 101))

    def read() -> None:
        one, two = stream_parts(environ(body, CONTENT_TYPE=FORM)), None
        assert next(one).text() == "ümlaut"
        two = next(one)
        with pytest.raises(BodyTooLarge):
            two.text(most_bytes=100)

    run(read)


@pytest.mark.parametrize("size", [0, 99, 100, 101])
def test_a_field_of_exactly_the_bound(run: Run, size: int) -> None:
    """It is not more than that."""
    body = form(("a", None, b"x" * size))

    def read() -> str:
        return next(stream_parts(environ(body, CONTENT_TYPE=FORM))).text(most_bytes=100)

    if size <= 100:
        assert run(read) == "x" * size
        return
    with pytest.raises(BodyTooLarge):
        run(read)


def test_save_parts(run: Run, tmp_path: Path) -> None:
    """Each whole, with its digest."""
    body = form(("file", "a", DATA), ("file", "b", b"small"), ("file", "c", b""))

    def save() -> None:
        for part in stream_parts(environ(body, CONTENT_TYPE=FORM)):
            assert part.filename is not None
            received = part.save_to(tmp_path / part.filename, digests=["md5"])
            assert received.size == (tmp_path / part.filename).stat().st_size

    run(save)
    assert (tmp_path / "a").read_bytes() == DATA
    assert (tmp_path / "b").read_bytes() == b"small"
    assert (tmp_path / "c").read_bytes() == b""
    assert len(list(tmp_path.iterdir())) == 3


def test_a_form_that_breaks_off(run: Run, tmp_path: Path) -> None:
    """The parts before are stored, the one that broke off is not."""
    body = form(("file", "a", DATA), ("file", "b", DATA))
    broken = environ(body, CONTENT_TYPE=FORM, wsgi_input=io.BytesIO(body[:-10_000]))

    def save() -> None:
        for part in stream_parts(broken):
            part.save_to(tmp_path / str(part.filename))

    with pytest.raises(IncompleteBody):
        run(save)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--boundary",
        b"no form at all",
        form(("a", None, b"x"))[:-8],
        b"--boundary\r\nX\r\n\r\n",
    ],
)
def test_a_body_that_is_no_form(run: Run, body: bytes) -> None:
    """Whole by its length, and still no form: a 400 that says so."""
    with pytest.raises(MalformedBody, match="it is no form"):
        run(lambda: [part.read() for part in stream_parts(environ(body, CONTENT_TYPE=FORM))])


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/mixed; boundary=boundary"])
def test_another_content_type(run: Run, content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        run(lambda: next(stream_parts(environ(b"x", CONTENT_TYPE=content_type))))


def test_no_boundary(run: Run) -> None:
    with pytest.raises(MalformedBody, match="names no boundary"):
        run(lambda: next(stream_parts(environ(b"x", CONTENT_TYPE="multipart/form-data"))))


def test_a_header_without_end(run: Run) -> None:
    """Is refused before it fills the memory."""
    body = b"--boundary\r\nX: " + b"x" * 5_000_000
    with pytest.raises(RequestEntityTooLarge):
        run(lambda: list(stream_parts(environ(body, CONTENT_TYPE=FORM))))


CONTENTS = st.binary(max_size=300) | st.sampled_from(
    [b"\r\n", b"--boundary", b"\r\n--bound", DATA]
)


@hypothesis_settings(derandomize="CI" in os.environ, deadline=None, max_examples=60)
@given(
    parts=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, "f"]), CONTENTS)),
    reads=st.lists(st.integers(1, 100_000), min_size=1),
)
def test_the_same_parts_as_werkzeugs_parser(
    parts: list[tuple[str, str | None, bytes]], reads: list[int]
) -> None:
    """Whatever the parts are and however they are read."""
    body = form(*parts)
    try:
        expected = werkzeugs_parts(body)
    except ValueError:
        with pytest.raises(MalformedBody):
            list(stream_parts(environ(body, CONTENT_TYPE=FORM)))
        return
    found = []
    for part in stream_parts(environ(body, CONTENT_TYPE=FORM)):
        sizes = itertools.cycle(reads)
        content = b"".join(iter(lambda part=part, sizes=sizes: part.read(next(sizes)), b""))  # type: ignore[misc]
        is_file = part.filename is not None
        # werkzeug gives the fields of a form as text.
        text = content if is_file else content.decode(errors="replace").encode()
        found.append((str(part.name), is_file, text))
    assert sorted(found) == sorted(expected)


def werkzeugs_parts(body: bytes) -> list[tuple[str, bool, bytes]]:
    """(name, whether it is a file, content) as werkzeug's own parser finds them."""
    parser = FormDataParser(
        stream_factory=lambda *_, **__: io.BytesIO(), max_form_parts=None, silent=False
    )
    _, fields, files = parser.parse(
        io.BytesIO(body), "multipart/form-data", len(body), {"boundary": "boundary"}
    )
    texts = [(name, False, text.encode()) for name, text in fields.items(multi=True)]
    return texts + [(name, True, file.read()) for name, file in files.items(multi=True)]


def test_limits_apply(run: Run, tmp_path: Path) -> None:
    """The settings' own, where no server has wrapped the body."""
    limited = UploadSettings(max_body_bytes=1000)
    with pytest.raises(BodyTooLarge):
        run(lambda: receive(environ(DATA), tmp_path / "target", settings=limited))
