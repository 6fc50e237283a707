"""The bound on the headers of a part: the same wherever blocks end, with every decoder."""

from __future__ import annotations

import io
from typing import Any

import pytest
from werkzeug.formparser import parse_form_data
from werkzeug.sansio.multipart import Field, MultipartDecoder, NeedData
from wsgi import environ

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import PartHeadersTooLarge
from cooperative_upload.forms import multipart, werkzeug_patch
from cooperative_upload.forms.multipart import BlockMultipartDecoder, LimitedMultipartDecoder
from cooperative_upload.forms.streaming import stream_parts
from cooperative_upload.settings import UploadSettings

pytestmark = pytest.mark.usefixtures("werkzeug_restored")

FORM = "multipart/form-data; boundary=b"
MOST = 100
START = b'Content-Disposition: form-data; name="'


def headers(size: int, line_break: bytes = b"\r\n") -> bytes:
    """Of that many bytes, and the blank line behind them."""
    return START + b"n" * (size - len(START) - 1) + b'"' + line_break * 2


def form(size: int, line_break: bytes = b"\r\n") -> bytes:
    return b"--b\r\n" + headers(size, line_break) + b"text" + line_break + b"--b--\r\n"


@pytest.mark.parametrize("decoder", [LimitedMultipartDecoder, BlockMultipartDecoder])
@pytest.mark.parametrize("line_break", [b"\r\n", b"\n", b"\r"])
@pytest.mark.parametrize("size", range(MOST - 4, MOST + 5))
def test_wherever_blocks_end(
    decoder: type[LimitedMultipartDecoder], line_break: bytes, size: int
) -> None:
    """As many bytes as may be are accepted, and one more is not."""
    raw = form(size, line_break)
    for cut in range(1, len(raw)):
        parser = decoder(b"b")
        parser.most_header_bytes = MOST
        if size > MOST:
            with pytest.raises(PartHeadersTooLarge, match="accepted are at most 100 bytes"):
                parts_of(parser, raw[:cut], raw[cut:])
        else:
            assert parts_of(parser, raw[:cut], raw[cut:]) == ["n" * (size - len(START) - 1)]


def parts_of(parser: MultipartDecoder, *blocks: bytes) -> list[str]:
    names = []
    for block in blocks:
        parser.receive_data(block)
        while not isinstance(event := parser.next_event(), NeedData):
            if isinstance(event, Field):
                names.append(event.name)
    return names


def test_content_does_not_count() -> None:
    """A part whose content is long has no long headers for it, also in the same block."""
    parser = BlockMultipartDecoder(b"b")
    parser.most_header_bytes = MOST
    raw = b"--b\r\n" + headers(MOST) + b"x" * 10_000 + b"\r\n--b\r\n" + headers(MOST) + b"y"
    assert len(parts_of(parser, raw)) == 2


@pytest.fixture(params=["fast", "fast_multipart off", "a newer werkzeug"])
def settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> UploadSettings:
    """What apply() was called with."""
    if request.param == "a newer werkzeug":
        monkeypatch.setattr(multipart, "version", lambda name: "3.2.0")
    applied = UploadSettings(
        fast_multipart=request.param != "fast_multipart off", max_part_header_bytes=MOST
    )
    werkzeug_patch.apply(applied)
    return applied


def test_unchanged_applications(settings: UploadSettings) -> None:
    """The form parser lets the error through, and the body's ending knows it."""
    assert dict(parse(form(MOST), settings)[1]) == {"n" * (MOST - len(START) - 1): "text"}
    body = CooperativeInput(io.BytesIO(form(MOST + 1)), len(form(MOST + 1)), settings)
    with pytest.raises(PartHeadersTooLarge):
        parse(form(MOST + 1), settings, body)
    assert isinstance(body.rejected_for, PartHeadersTooLarge)


def parse(data: bytes, settings: UploadSettings, body: Any = None) -> Any:
    stream = body or CooperativeInput(io.BytesIO(data), len(data), settings)
    return parse_form_data(environ(data, CONTENT_TYPE=FORM, wsgi_input=stream))


@pytest.mark.parametrize("size", [MOST, MOST + 1])
def test_stream_parts(size: int) -> None:
    """The same, with the settings that it was given."""
    request = environ(form(size), CONTENT_TYPE=FORM)
    parts = stream_parts(request, UploadSettings(max_part_header_bytes=MOST))
    if size <= MOST:
        assert [part.text() for part in parts] == ["text"]
        return
    with pytest.raises(PartHeadersTooLarge):
        next(parts)
    assert isinstance(request["wsgi.input"].rejected_for, PartHeadersTooLarge)


def test_no_bound() -> None:
    """0: what werkzeug's own limit allows."""
    request = environ(form(100_000), CONTENT_TYPE=FORM)
    parts = stream_parts(request, UploadSettings(max_part_header_bytes=0))
    assert [len(part.name or "") for part in parts] == [100_000 - len(START) - 1]
