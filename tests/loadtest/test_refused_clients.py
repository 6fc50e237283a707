"""The load test's refused clients: what each kind does, with a server that does as a test says."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from loadtest.clients import refused
from loadtest.clients.connection import Address
from loadtest.clients.crew import Station
from loadtest.clients.refused import (
    CUT,
    EXPECT,
    REFUSED,
    SEND_ALL,
    UNANSWERED,
    WATCH,
    WRONG,
    Refusal,
)

SIZE = 32_000_000  # bytes of content: far more than the kernel takes for a server that reads none
REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\nConnection: close\r\n\r\nno..."
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Heard:
    """The parent's side of the process, here in the same one."""

    def wait_for_go(self) -> float:
        return time.perf_counter()

    def progress(self, value: object) -> None:
        """Nobody looks."""

    def stop_at(self) -> None:
        """Never."""


class Script:
    """What a server did: `act` gets its side of the one connection, at the end of the headers."""

    def __init__(self, act: Callable[[socket.socket, bytes], object]) -> None:
        self._act = act
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.head = b""
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            with self._listener.accept()[0] as sock:
                sock.settimeout(20)
                while b"\r\n\r\n" not in self.head:
                    self.head += sock.recv(65536)
                self.head, _, begun = self.head.partition(b"\r\n\r\n")
                self._act(sock, begun)
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Script:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.join(20)
        self._listener.close()
        assert self.error is None, self.error


def refusal(act: Callable[[socket.socket, bytes], object], kind: str, **job: Any) -> Refusal:
    """What one client of `kind` saw of a server that does `act`."""
    with Script(act) as server:
        address = Address("127.0.0.1", server.port, "127.0.0.1")
        found = refused.run(make_job(address, kinds=(kind,), **job), stationed())
        assert (b"Expect: 100-continue" in server.head) == (kind == EXPECT)
    assert len(found.uploads) == 1
    (one,) = found.uploads
    assert isinstance(one, Refusal)
    assert one.kind == kind
    return one


def stationed() -> Station:
    return Heard()  # type: ignore[return-value]


def make_job(address: Address, **changed: Any) -> refused.RefusedJob:
    job = refused.RefusedJob(
        address=address,
        target="/refuse",
        headers=(),
        field="file",
        body="raw",
        clients=1,
        kinds=refused.KINDS,
        size=SIZE,
        send_all_size=SIZE,
        status=401,
        seed=1,
        seconds=20.0,
    )
    return replace(job, **changed)


def swallow(sock: socket.socket, *, until: int | None = None) -> int:
    """Read to the end, or that much."""
    count = 0
    with suppress(ConnectionResetError):
        while (until is None or count < until) and (data := sock.recv(1 << 20)):
            count += len(data)
    return count


def answer_and_linger(sock: socket.socket, begun: bytes) -> None:
    sock.sendall(REFUSAL)
    swallow(sock)


@pytest.mark.parametrize("kind", [EXPECT, WATCH])
def test_a_client_that_looks_stops_when_it_sees_the_status(kind: str) -> None:
    seen = refusal(answer_and_linger, kind)
    assert (seen.fate, seen.status, seen.outcome) == (REFUSED, 401, "ok")
    assert seen.sent == seen.sent_before
    assert seen.sent < seen.length
    assert 0 < seen.waited < 5


def test_a_client_that_expects_sends_nothing_before_it_was_answered() -> None:
    seen = refusal(answer_and_linger, EXPECT)
    assert seen.sent == seen.sent_before == 0


def test_a_client_that_expects_sends_when_it_may_and_looks_all_the_same() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        assert begun == b""
        sock.sendall(CONTINUE)
        swallow(sock, until=1_000_000)
        answer_and_linger(sock, b"")

    seen = refusal(act, EXPECT)
    assert seen.fate == REFUSED
    assert 1_000_000 <= seen.sent < seen.length


def test_a_client_that_expects_loses_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "PATIENCE", 0.1)

    def act(sock: socket.socket, begun: bytes) -> None:
        assert begun == b""
        assert swallow(sock, until=100_000) >= 100_000
        answer_and_linger(sock, b"")

    seen = refusal(act, EXPECT)
    assert seen.fate == REFUSED
    assert seen.waited > 0.1


def test_a_client_that_watches_sends_at_once() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        assert len(begun) + swallow(sock, until=1_000_000) >= 1_000_000
        answer_and_linger(sock, b"")

    assert refusal(act, WATCH).sent >= 1_000_000


def test_a_client_that_sends_all_does_not_look_before() -> None:
    seen = refusal(answer_and_linger, SEND_ALL)
    assert (seen.fate, seen.outcome) == (REFUSED, "ok")
    assert seen.sent == seen.sent_before == seen.length


def test_the_size_of_send_all_is_at_most_that_of_the_others() -> None:
    job = make_job(Address("h", 1, "127.0.0.1"), size=100, send_all_size=50, body="raw")
    sizes = {}
    for kind in refused.KINDS:
        body = refused.make_request(job, kind).body
        assert body is not None
        sizes[kind] = body.length
    assert sizes == {EXPECT: 100, WATCH: 100, SEND_ALL: 50}
    body = refused.make_request(replace(job, size=10), SEND_ALL).body
    assert body is not None
    assert body.length == 10


@pytest.mark.parametrize("kind", refused.KINDS)
def test_a_reset_is_a_cut(kind: str) -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    seen = refusal(act, kind)
    assert (seen.fate, seen.status) == (CUT, 0)
    assert seen.outcome.startswith("cut (")
    assert seen.sent_before is None


def test_an_answer_behind_a_reset_counts_for_nobody_who_has_not_looked() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.sendall(REFUSAL)
        swallow(sock, until=100_000)  # what comes after it is unread, so that the end is a reset

    assert refusal(act, SEND_ALL).fate == CUT


def test_an_end_without_a_status_is_a_cut() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.shutdown(socket.SHUT_WR)
        swallow(sock)

    seen = refusal(act, WATCH)
    assert (seen.fate, seen.outcome) == (CUT, "cut (the connection ended before the answer)")


def test_a_cut_behind_the_status_is_told() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.sendall(REFUSAL[:-1])
        sock.shutdown(socket.SHUT_WR)
        swallow(sock)

    seen = refusal(act, WATCH)
    assert (seen.fate, seen.status) == (REFUSED, 401)
    assert seen.outcome.startswith("answered 401, then cut (")


def test_the_wait_ends_with_the_status_and_not_with_the_answer() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.sendall(REFUSAL[:-1])
        swallow(sock)

    seen = refusal(act, WATCH, seconds=1.0)
    assert (seen.fate, seen.outcome) == (REFUSED, "answered 401, then no answer after 1 s")
    assert seen.end - seen.start > 0.9
    assert seen.waited < 0.7


def test_another_status_is_wrong() -> None:
    def act(sock: socket.socket, begun: bytes) -> None:
        sock.sendall(REFUSAL.replace(b"401", b"200"))
        swallow(sock)

    seen = refusal(act, WATCH)
    assert (seen.fate, seen.status) == (WRONG, 200)
    assert seen.outcome == "answered 200 instead of 401"


@pytest.mark.parametrize("kind", refused.KINDS)
def test_who_has_no_answer_is_given_up(kind: str) -> None:
    seen = refusal(lambda sock, begun: swallow(sock), kind, seconds=0.3)
    assert (seen.fate, seen.outcome) == (UNANSWERED, "no answer after 0.3 s")
    assert 0.2 < seen.waited < 5


def test_the_kinds_take_turns() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address("127.0.0.1", listener.getsockname()[1], "127.0.0.1")
        job = make_job(address, clients=7, seconds=0.1)
        found = refused.run(job, stationed()).uploads
    kinds = {each.client: each.kind for each in found if isinstance(each, Refusal)}
    assert [kinds[i] for i in range(7)] == [*refused.KINDS, *refused.KINDS, EXPECT]
