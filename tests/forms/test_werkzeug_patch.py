"""What apply() replaces in werkzeug, and what it leaves alone."""

from __future__ import annotations

import io
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
import werkzeug.formparser
import werkzeug.wrappers.request
from disk import no_leaks
from greenlets import hub_scheduler, hub_writer, in_greenlet
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import ClientDisconnected
from werkzeug.formparser import parse_form_data
from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Request
from werkzeug.wsgi import LimitedStream

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.forms import multipart, werkzeug_patch
from cooperative_upload.forms.multipart import BlockMultipartDecoder, is_supported
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.temporary_file import Spool, spools_closed_at_the_end

pytestmark = pytest.mark.usefixtures("werkzeug_restored")

SMALL = b"small"
LARGE = bytes(range(256)) * 500
MEMORY = 10_000


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[UploadSettings]:
    """Settings whose spools are gone in the end."""
    directory = tmp_path / "spools"
    directory.mkdir()
    with no_leaks(directory):
        yield UploadSettings(spool_memory_bytes=MEMORY, spool_directory=str(directory))


@pytest.fixture
def patched(settings: UploadSettings) -> Iterator[UploadSettings]:
    """apply(), within a request whose spools end with the test."""
    werkzeug_patch.apply(settings)
    with spools_closed_at_the_end():
        yield settings


def form(**files: bytes) -> dict[str, Any]:
    """The WSGI environment of a form with files."""
    data = {name: (io.BytesIO(content), f"{name}.bin") for name, content in files.items()}
    environ = EnvironBuilder(method="POST", data=data).get_environ()
    with environ["wsgi.input"] as encoded:  # a temporary file, if it is large
        environ["wsgi.input"] = io.BytesIO(encoded.read())
    return environ


def test_nothing_is_replaced_before() -> None:
    """The tests below compare with werkzeug's own."""
    assert werkzeug.formparser.default_stream_factory.__module__ == "werkzeug.formparser"
    assert FileStorage.save is werkzeug_patch._werkzeug_save


def test_the_form_parsers_parts_are_spools(patched: UploadSettings) -> None:
    """In memory or on disk, by the settings."""
    _, _, files = parse_form_data(form(small=SMALL, large=LARGE))
    streams: dict[str, Any] = {name: file.stream for name, file in files.items()}
    assert {type(stream) for stream in streams.values()} == {Spool}
    assert streams["small"].name is None
    assert streams["large"].name is not None
    assert {name: file.read() for name, file in files.items()} == {"small": SMALL, "large": LARGE}


@pytest.mark.parametrize("request_class", [Request, flask.Request])
def test_the_parts_of_a_request_are_spools(
    patched: UploadSettings, request_class: type[Request]
) -> None:
    """werkzeug's Request has the factory under a name of its own."""
    file = request_class(form(file=LARGE)).files["file"]
    assert isinstance(file.stream, Spool)
    assert file.filename == "file.bin"
    assert file.read() == LARGE


def test_a_factory_of_the_application_stays(patched: UploadSettings) -> None:
    """An application that says where its parts go is obeyed."""

    class OwnRequest(Request):
        def _get_file_stream(self, *_: Any, **__: Any) -> io.BytesIO:
            return io.BytesIO()

    assert isinstance(OwnRequest(form(file=LARGE)).files["file"].stream, io.BytesIO)
    _, _, files = parse_form_data(form(file=LARGE), stream_factory=lambda *_, **__: io.BytesIO())
    assert isinstance(files["file"].stream, io.BytesIO)


def test_a_second_call_changes_the_settings(settings: UploadSettings) -> None:
    """As after a reload of the worker's configuration."""
    werkzeug_patch.apply(settings)
    werkzeug_patch.apply(
        UploadSettings(spool_memory_bytes=0, spool_directory=settings.spool_directory)
    )
    with spools_closed_at_the_end():
        stream: Any = Request(form(file=SMALL)).files["file"].stream
        assert stream.name is not None


def test_the_faster_decoder_can_be_left_out(settings: UploadSettings) -> None:
    """fast_multipart off: werkzeug's decoder, and the bound on headers."""
    module: Any = werkzeug.formparser
    slow = UploadSettings(fast_multipart=False, spool_directory=settings.spool_directory)
    werkzeug_patch.apply(slow)
    assert not issubclass(module.MultipartDecoder, BlockMultipartDecoder)
    assert module.MultipartDecoder.most_header_bytes == slow.max_part_header_bytes


@pytest.mark.parametrize("content", [SMALL, LARGE, b""])
@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_save_to_a_path(
    patched: UploadSettings, tmp_path: Path, content: bytes, kind: Any
) -> None:
    """The file, with the mode that open() would give, and the stream at its end."""
    before = os.umask(0o027)
    try:
        file = Request(form(file=content)).files["file"]
        destination: Any = kind(str(tmp_path / "saved"))
        if kind is os.fsencode:  # which werkzeug does not promise
            destination = os.fsdecode(destination)
        file.save(destination)
    finally:
        os.umask(before)
    assert (tmp_path / "saved").read_bytes() == content
    assert stat.S_IMODE((tmp_path / "saved").stat().st_mode) == 0o640
    assert file.tell() == len(content)


def test_the_stream_of_a_file_can_be_moved(patched: UploadSettings, tmp_path: Path) -> None:
    """Which save() does not do: the large part is not copied, and the stream is closed."""
    stream: Any = Request(form(file=LARGE)).files["file"].stream
    inode = os.fstat(stream.fileno()).st_ino
    stream.move_to(tmp_path / "saved")
    assert (tmp_path / "saved").stat().st_ino == inode
    assert stream.closed


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_save_to_a_file_object(patched: UploadSettings, tmp_path: Path, content: bytes) -> None:
    """Written to, from where it stands, and left open, as werkzeug documents it."""
    file = Request(form(file=content)).files["file"]
    with open(tmp_path / "saved", "wb") as destination:
        destination.write(b"before ")
        file.save(destination, 1000)
        assert not destination.closed
    assert (tmp_path / "saved").read_bytes() == b"before " + content
    memory = io.BytesIO()
    file.seek(0)
    file.save(memory, buffer_size=10)
    assert memory.getvalue() == content


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_save_begins_at_the_position(
    patched: UploadSettings, tmp_path: Path, content: bytes
) -> None:
    """What the application has read is not saved; a second save without seek(0) is empty."""
    file = Request(form(file=content)).files["file"]
    assert file.read(2) == content[:2]
    file.save(tmp_path / "rest")
    file.save(tmp_path / "empty")
    file.seek(0)
    file.save(tmp_path / "whole")
    assert (tmp_path / "rest").read_bytes() == content[2:]
    assert (tmp_path / "empty").read_bytes() == b""
    assert (tmp_path / "whole").read_bytes() == content


def test_save_of_another_stream(patched: UploadSettings, tmp_path: Path) -> None:
    """A FileStorage of the application's own is saved by werkzeug."""
    with tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(SMALL)
        spooled.seek(1)
        for number, stream in enumerate([io.BytesIO(SMALL[1:]), spooled]):
            path = tmp_path / str(number)
            FileStorage(stream, "name").save(path)  # type: ignore[arg-type]
            assert path.read_bytes() == SMALL[1:]


def test_save_fails_as_open_does(patched: UploadSettings, tmp_path: Path) -> None:
    """The error names what is wrong with the path, and the stream can be saved elsewhere."""
    file = Request(form(file=LARGE)).files["file"]
    with pytest.raises(FileNotFoundError):
        file.save(tmp_path / "missing" / "saved")
    with pytest.raises(IsADirectoryError):
        file.save(tmp_path)
    file.save(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == LARGE


@pytest.mark.parametrize("limit", [None, 10_000_000])
def test_a_broken_form_says_how_much_came(patched: UploadSettings, limit: int | None) -> None:
    """Also through the stream that limits the length, which would say that the client left."""
    app = flask.Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = limit
    app.add_url_rule("/", "upload", lambda: {"files": list(flask.request.files)}, methods=["POST"])
    environ = form(file=LARGE)
    length = int(environ["CONTENT_LENGTH"])
    environ["wsgi.input"] = CooperativeInput(io.BytesIO(environ["wsgi.input"].read(500)), length)
    environ["wsgi.input_terminated"] = True
    page, status, _ = run_wsgi_app(app, environ)
    assert status.startswith("400 ")
    assert f"received 500 of {length:,} bytes" in b"".join(page).decode()


def test_other_streams_that_break_off(patched: UploadSettings) -> None:
    """What is not this package's stays what werkzeug makes of it."""

    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            raise OSError("gone")

    with pytest.raises(ClientDisconnected) as caught:
        LimitedStream(Broken(), 10).read()  # type: ignore[arg-type]
    assert type(caught.value) is ClientDisconnected
    assert LimitedStream(io.BytesIO(b"abc"), 10, is_max=True).read() == b"abc"


def test_a_flask_application_end_to_end(patched: UploadSettings, tmp_path: Path) -> None:
    """A view that knows nothing of this package, read in turns and written by threads."""
    app = flask.Flask(__name__)

    @app.post("/")
    def upload() -> dict[str, Any]:
        saved = {}
        for name, file in flask.request.files.items():
            file.save(tmp_path / name)
            saved[name] = file.tell()
        return saved

    contents = {"small": SMALL, "large": LARGE, "larger": LARGE * 20}
    environ = form(**contents)
    data = environ["wsgi.input"].read()
    environ["wsgi.input"] = CooperativeInput(io.BytesIO(data), len(data))

    def post() -> Any:
        with spools_closed_at_the_end():
            return json.loads(b"".join(run_wsgi_app(app, environ)[0]))

    with hub_scheduler() as scheduler, hub_writer():
        assert in_greenlet(post) == {name: len(content) for name, content in contents.items()}
        assert scheduler.statistics().turns > len(data) // (64 * 1024)
    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents


@pytest.mark.parametrize(
    ("installed", "supported"),
    [
        ("3.0.6", True),
        ("3.1", True),
        ("3.1.99", True),
        ("3.2", False),
        ("3.2.0", False),
        ("3.2.0.dev0", False),
        ("3.10.1", False),
        ("4.0", False),
    ],
)
def test_versions_of_werkzeug_that_the_decoder_was_compared_with(
    monkeypatch: pytest.MonkeyPatch, installed: str, supported: bool
) -> None:
    """3.2 may retain other bytes at the end of a block, so its own decoder stays."""
    monkeypatch.setattr(multipart, "version", lambda project: installed)
    assert is_supported() is supported


@pytest.mark.skipif(not is_supported(), reason="werkzeug's own decoder is left in place")
@pytest.mark.parametrize("file_name", ["", '; filename="x"'])
def test_others_run_between_small_parts(file_name: str) -> None:
    """One block holds many parts: an upload whose slice is used up goes on after the others."""
    settings = UploadSettings(small_body_bytes=0)
    werkzeug_patch.apply(settings)
    part = f'--b\r\nContent-Disposition: form-data; name="f"{file_name}\r\n\r\nx\r\n'.encode()
    body = part * 200 + b"--b--\r\n"

    def parse() -> int:
        stream = CooperativeInput(io.BytesIO(body), len(body), settings)
        parser = werkzeug.formparser.MultiPartParser()
        with spools_closed_at_the_end():
            form, files = parser.parse(stream, b"b", len(body))  # type: ignore[arg-type]
        return len(form.getlist("f")) + len(files.getlist("f"))

    with hub_scheduler() as scheduler:
        assert in_greenlet(parse) == 200
        assert scheduler.statistics().turns > 200
