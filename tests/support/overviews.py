"""What live servers that run overview_application tell, and clients that hold an upload there."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from http2_client import Http2Connection
from http_client import DEADLINE, FORM_TYPE, Connection, Part, Response, chunk, content, form, head
from live_server import LiveServer, wait_until

APPLICATION = "overview_application:application"
SIZE = 200_000  # above small_body_bytes, and below drain_bytes
BODY = content(SIZE)

_names = (f"name-{number}" for number in itertools.count())


def told_by(connection: Connection) -> dict[str, Any]:
    """overview() of the worker that has this connection."""
    connection.send_request("GET", "/overview")
    told: dict[str, Any] = connection.response().json()
    return told


def told(server: LiveServer) -> dict[str, Any]:
    """overview() of any worker."""
    with server.connect() as connection:
        return told_by(connection)


def numbers_of(server: LiveServer) -> dict[str, int]:
    numbers: dict[str, int] = told(server)["numbers"]
    return numbers


def wait_for_uploads(server: LiveServer, number: int) -> list[dict[str, Any]]:
    """The uploads in progress, once there are so many."""

    def as_many() -> list[dict[str, Any]] | None:
        uploads: list[dict[str, Any]] = told(server)["uploads"]
        return uploads if len(uploads) == number else None

    if not number:
        wait_until(lambda: told(server)["uploads"] == [], "no upload is told any more")
        return []
    return wait_until(as_many, f"{number} uploads are told") or []


def wait_for_state(server: LiveServer, state: str, path: str) -> dict[str, Any]:
    """The upload to that path, once it does that."""

    def in_it() -> dict[str, Any] | None:
        uploads = [each for each in told(server)["uploads"] if each["path"] == path]
        return next((each for each in uploads if each["state"] == state), None)

    return wait_until(in_it, f"the upload to {path} is {state}") or {}


@contextlib.contextmanager
def numbers_added(server: LiveServer, **expected: int) -> Iterator[None]:
    """The block adds exactly so much to these numbers, at the latest soon after its end."""
    before = numbers_of(server)

    def added() -> dict[str, int]:
        now = numbers_of(server)
        return {name: now[name] - before[name] for name in expected}

    yield
    try:
        wait_until(lambda: added() == expected, f"{expected} are counted")
    except AssertionError as error:
        error.args = (f"{error}; counted are {added()}",)
        raise


def connect_to(server: LiveServer, worker: int) -> Connection:
    """A connection to this worker; the others are stopped until it has accepted."""
    while True:
        others = [pid for pid in server.workers() if pid != worker]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            connection = server.connect()
            connection.send_request("GET", "/pid")
            if int(connection.response().body) == worker:
                return connection
            connection.sock.close()  # another had not stopped yet
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)


# Framings


class WithLength:
    """An upload of SIZE bytes with a Content-Length."""

    expected: int | None = SIZE

    def __init__(self, connection: Connection, path: str, headers: dict[str, str]) -> None:
        self._connection = connection
        connection.send(head("POST", path, {**headers, "Content-Length": str(SIZE)}))

    def send(self, data: bytes) -> None:
        self._connection.send(data)

    def end(self) -> None:
        """All has been sent."""

    def response(self) -> Response:
        return self._connection.response()


class InChunks(WithLength):
    """The same in chunked coding."""

    expected = None

    def __init__(self, connection: Connection, path: str, headers: dict[str, str]) -> None:
        self._connection = connection
        connection.send(head("POST", path, {**headers, "Transfer-Encoding": "chunked"}))

    def send(self, data: bytes) -> None:
        self._connection.send(chunk(data))

    def end(self) -> None:
        self._connection.send(b"0\r\n\r\n")


class OverHttp2(WithLength):
    """The same as one stream of HTTP/2."""

    def __init__(self, connection: Connection, path: str, headers: dict[str, str]) -> None:
        self._http2 = Http2Connection(connection)
        self._stream = self._http2.begin("POST", path, {**headers, "Content-Length": str(SIZE)})

    def send(self, data: bytes) -> None:
        self._http2.send(self._stream, data)

    def end(self) -> None:
        self._http2.send(self._stream, b"", end=True)

    def response(self) -> Response:
        return self._http2.response(self._stream)


# What an upload can be held up by. Each is a context manager; at the end of its block the upload
# goes on, and is answered.


class Held:
    """An upload that is held up.

    path: that of its URL.
    sent: bytes of its body that were sent so far.
    response: that to it, once it has gone on.
    """

    def __init__(self, path: str, sent: int) -> None:
        self.path = path
        self.sent = sent
        self.response: Response | None = None


Begin = Callable[[str, dict[str, str]], WithLength]  # with a path and headers
Hold = Callable[[LiveServer, Begin], contextlib.AbstractContextManager[Held]]


def go_on(server: LiveServer, name: str) -> None:
    with server.connect() as connection:
        assert connection.post(f"/go-on?name={name}", b"").status == 200


@contextlib.contextmanager
def _sending(sender: WithLength, data: bytes) -> Iterator[None]:
    """Send this and the end of the body while the block runs, as the server takes it."""

    def send() -> None:
        with contextlib.suppress(OSError):  # the test gets no response then
            sender.send(data)
            sender.end()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join(DEADLINE)


@contextlib.contextmanager
def by_its_client(server: LiveServer, begin: Begin) -> Iterator[Held]:
    """Half of it is sent."""
    sender = begin("/stream", {})
    sender.send(BODY[: SIZE // 2])
    held = Held("/stream", SIZE // 2)
    yield held
    sender.send(BODY[SIZE // 2 :])
    sender.end()
    held.response = sender.response()


@contextlib.contextmanager
def by_its_view(
    server: LiveServer, begin: Begin, path: str = "/stream/in-two-parts"
) -> Iterator[Held]:
    """Which does something else between two reads."""
    name = next(_names)
    sender = begin(f"{path}?name={name}", {})
    held = Held(path, SIZE)
    with _sending(sender, BODY):
        yield held
        go_on(server, name)
    held.response = sender.response()


def by_its_answer(server: LiveServer, begin: Begin) -> contextlib.AbstractContextManager[Held]:
    """Which is made behind the last read."""
    return by_its_view(server, begin, "/answer-when-told")


@contextlib.contextmanager
def by_others_work(server: LiveServer, begin: Begin) -> Iterator[Held]:
    """Somebody is ready all the time, so that nobody gets a turn before the deadline."""
    name = next(_names)
    with server.connect() as spinning:
        spinning.send_request("POST", f"/spin?name={name}", b"")
        wait_until(lambda: _waits(server, name), "somebody to be busy")
        sender = begin("/stream", {})
        held = Held("/stream", SIZE)
        with _sending(sender, BODY):
            yield held
            go_on(server, name)
            assert spinning.response().body == b"spun"
        held.response = sender.response()


def _waits(server: LiveServer, name: str) -> bool:
    with server.connect() as connection:
        connection.send_request("GET", f"/waiting?name={name}")
        return bool(connection.response().json()[0])


@contextlib.contextmanager
def by_another_upload(server: LiveServer, begin: Begin) -> Iterator[Held]:
    """Which has the only place."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(server.connect())
        first = by_its_answer(server, lambda path, headers: WithLength(connection, path, headers))
        with first:
            wait_for_state(server, "answering", "/answer-when-told")
            sender = begin("/stream", {})
            held = Held("/stream", SIZE)
            stack.enter_context(_sending(sender, BODY))
            yield held
    held.response = sender.response()


_FORM = form(Part("file", b"", "f.bin"))
FORM = form(Part("file", content(SIZE - len(_FORM)), "f.bin"))


@contextlib.contextmanager
def by_the_disk(server: LiveServer, begin: Begin) -> Iterator[Held]:
    """It is saved to a pipe that nobody reads."""
    pipe = server.directory / next(_names)
    os.mkfifo(pipe)
    sender = begin(f"/save?to={quote(str(pipe))}", {"Content-Type": FORM_TYPE})
    held = Held("/save", SIZE)
    with _sending(sender, FORM):
        yield held
        assert len(pipe.read_bytes()) == SIZE - len(_FORM)
    held.response = sender.response()


@contextlib.contextmanager
def by_draining(server: LiveServer, begin: Begin) -> Iterator[Held]:
    """Its client sends the second half when it has its answer."""
    sender = begin("/unread", {})
    sender.send(BODY[: SIZE // 2])
    held = Held("/unread", SIZE // 2)
    held.response = sender.response()
    yield held
    sender.send(BODY[SIZE // 2 :])
    sender.end()
