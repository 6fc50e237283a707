"""The place that an upload holds while it runs, and what is told of it in the end."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from exchanges import DRAIN, answer, case, connection_header, raising, reading, status
from greenlets import FOREVER, hub_scheduler, in_greenlet

from cooperative_upload.errors import (
    BodyError,
    IncompleteBody,
    MalformedBody,
    StorageError,
    TooManyUploads,
)
from cooperative_upload.exchange.admission import Admission
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.temporary_file import Spool

pytestmark = pytest.mark.usefixtures("own_scheduler_and_writer")


# Admission.


def test_an_upload_holds_its_place_until_its_response_is_written() -> None:
    """Small bodies need none; who finds none is refused without the application."""
    settings = UploadSettings(max_uploads=1, small_body_bytes=10, retry_after_seconds=7)
    admission = Admission(settings)
    asked = []

    def begins(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        yield b"o"
        with case(11, settings, admission=admission) as second:
            second.serve(lambda *_: asked.append(1) or [])  # type: ignore[func-returns-value]
            sent = second.sent()
            assert (status(sent), connection_header(sent)) == (503, "keep-alive")
            assert b"\r\nRetry-After: 7\r\n" in sent
        with case(10, settings, admission=admission) as small:
            small.client.sendall(bytes(10))
            small.serve(reading)
            assert status(small.sent()) == 200
        yield b"k"

    def test() -> None:
        for _ in range(2):  # the place is there again
            with case(11, settings, admission=admission) as first:
                first.serve(begins)
                assert first.sent().endswith(b"\r\n\r\nok")

    in_greenlet(test)
    assert asked == []


@pytest.mark.parametrize("length", [10, 11])
def test_an_upload_begins_with_a_turn(length: int) -> None:
    """What the application does before its first read is part of it; a small body takes none."""
    turns = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        turns.append(scheduler.has_turn)
        return answer(start_response)

    with (
        hub_scheduler(FOREVER) as scheduler,
        case(length, UploadSettings(small_body_bytes=10)) as each,
    ):
        in_greenlet(lambda: each.serve(application))
    assert turns == [length > 10]


@pytest.mark.parametrize("error", [ZeroDivisionError(), IncompleteBody(1, 2), MemoryError()])
def test_a_place_is_given_back_by_a_failed_request(error: BaseException) -> None:
    """Whoever catches the error."""
    settings = UploadSettings(max_uploads=1, small_body_bytes=0)
    admission = Admission(settings)

    def test() -> None:
        for _ in range(3):
            with case(10, settings, admission=admission) as each:
                with contextlib.suppress(ZeroDivisionError, MemoryError):
                    each.serve(raising(error))
                assert b" 503 " not in each.sent()

    in_greenlet(test)


def test_a_client_behind_a_proxy() -> None:
    """The limit for each client goes by the address that gunicorn gives the application."""
    settings = UploadSettings(max_uploads_per_client=1, small_body_bytes=0)
    admission = Admission(settings)
    statuses = []

    def begins(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        for address in ("127.0.0.8", "127.0.0.9"):
            with case(10, settings, admission=admission) as other:
                other.environ["REMOTE_ADDR"] = address
                other.client.sendall(bytes(10))
                other.serve(reading)
                statuses.append(status(other.sent()))
        return answer(start_response)

    def test() -> None:
        with case(10, settings, admission=admission) as each:
            each.environ["REMOTE_ADDR"] = "127.0.0.8"
            each.serve(begins)

    in_greenlet(test)
    assert statuses == [503, 200]


# The report.


def test_the_line_of_a_body_that_did_not_end_well() -> None:
    """Who, what, how much, how long and why."""

    def test() -> None:
        with case(5000) as each:
            each.client.sendall(bytes(1234))
            each.client.shutdown(gevent.socket.SHUT_WR)
            each.serve(reading)
            assert status(each.sent()) == 400
            counted, ((level, text),) = each.reported()
            assert counted == {"incomplete": 1, "bytes": 1234}
            assert level == "info"
            assert re.fullmatch(
                r"Upload incomplete: POST /form from 127\.0\.0\.7, 1,234 of 5,000 bytes in "
                r"\d+\.\d{3} s\. The request body is incomplete: received 1,234 of 5,000 bytes "
                r"before the client stopped sending\.",
                text,
            ), text

    in_greenlet(test)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/a\r\nUpload complete: GET /", r"/a\r\nUpload complete: GET /"),
        ("/\x1b[31mred\x00", r"/\x1b[31mred\x00"),
        ("/ä\N{RIGHT-TO-LEFT OVERRIDE}x", r"/\xe4\u202ex"),
        ("/" + 5000 * "x", "/" + 199 * "x"),
        ("/%s%(x)s%", "/%s%(x)s%"),
        ("", ""),
    ],
)
def test_a_path_can_not_forge_a_line(path: str, told: str) -> None:
    """One line of printable ASCII, of bounded length."""
    with case(None, path=path) as each:
        _, ((_, text),) = each.reported()
        assert text.startswith(f"Upload unread: POST {told} from 127.0.0.7, 0 bytes in ")
        assert text.isascii()
        assert text.isprintable()
        assert len(text) < 500


def test_a_client_of_a_unix_socket() -> None:
    """It has no address."""
    with case(None, address="") as each:
        _, ((_, text),) = each.reported()
        assert " from a Unix socket, " in text


def test_a_fault_of_the_storage_is_an_error() -> None:
    """The operator is to see it, with the path, which the client is not told."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        spool = Spool(UploadSettings(spool_directory="/nowhere", spool_memory_bytes=0))
        with pytest.raises(StorageError):
            spool.write(b"x")
        return answer(start_response)

    def test() -> None:
        with case(10) as each:
            each.client.sendall(bytes(10))
            each.serve(application)
            assert b"nowhere" not in each.sent()
            counted, ((level, text),) = each.reported()
            assert counted == {"not_stored": 1}
            assert level == "error"
            assert "Upload not stored: POST /form" in text
            assert "[Errno 2]" in text
            assert "/nowhere" in text

    in_greenlet(test)


class Causes:
    """What may go wrong with one body, each by itself or together with others."""

    names = ("killed", "storage", "body", "refused", "drained", "read")
    endings = ("killed", "not_stored", "malformed", "turned_away", "drained", "complete")

    def __init__(self, *happened: str) -> None:
        self.happened = set(happened)

    @property
    def ending(self) -> str:
        """That of the first in the order of the names."""
        pairs = zip(self.names, self.endings, strict=True)
        return next((ending for name, ending in pairs if name in self.happened), "unread")

    def application(self, environ: dict[str, Any], start_response: Any) -> Any:
        if "storage" in self.happened:
            spool = Spool(UploadSettings(spool_directory="/nowhere", spool_memory_bytes=0))
            with contextlib.suppress(StorageError):
                spool.write(b"x")
        if {"body", "read"} & self.happened:
            with contextlib.suppress(BodyError):
                environ["wsgi.input"].read()
        if "killed" in self.happened:
            raise gevent.GreenletExit
        if "refused" in self.happened:
            raise TooManyUploads("this server", 1, 1)
        return answer(start_response)


COMBINATIONS = [
    causes
    for number in range(4)
    for causes in itertools.combinations(Causes.names, number)
    if not {"body", "read"} <= set(causes) and not {"drained", "read"} <= set(causes)
    if not {"drained", "body"} <= set(causes)  # a broken body is not drained
]


@pytest.mark.parametrize("causes", COMBINATIONS, ids="+".join)
def test_which_ending_goes_first(causes: tuple[str, ...]) -> None:
    """One ending for each body: the cause, and not what came of it."""

    def decoder() -> Iterator[bytes]:
        raise MalformedBody(0, "no size")
        yield b""

    each_of = Causes(*causes)

    def test() -> None:
        broken = "body" in causes
        drain = DRAIN if "drained" in causes else 0
        settings = UploadSettings(drain_bytes=drain)
        with case(None if broken else DRAIN, settings, decoder=decoder()) as each:
            if not broken:
                each.client.sendall(bytes(DRAIN))
            each.serve(each_of.application)
            each.exchange.drain()
            counted, lines = each.reported()
            counted.pop("bytes", None)
            assert counted == {each_of.ending: 1}
            assert len(lines) == (each_of.ending not in ("complete", "drained"))

    in_greenlet(test)
