"""What every CooperativeInput does, whatever its source: inherit BodyContract and say which."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from greenlets import hub_scheduler, in_greenlet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import IncompleteBody

TEXT = b"first\nsecond line\n\nlast, without a line feed"
TRAILING = b"GET / HTTP/1.1\r\n\r\n"

# Sizes at which another path is taken: a block of werkzeug, what is taken from a socket at once.
SIZES = [n + d for n in (64 * 1024, 128 * 1024, 256 * 1024, 1024 * 1024) for d in (-1, 0, 1)]

CONTRACT_SETTINGS = settings(
    deadline=None,
    max_examples=100,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.differing_executors],
)

METHODS: dict[str, Callable[[Any], Any]] = {
    "read()": lambda body: body.read(),
    "read(None)": lambda body: body.read(None),
    "read(large)": lambda body: body.read(1 << 40),
    "readline()": lambda body: body.readline(),
    "readline(large)": lambda body: body.readline(1 << 40),
    "readlines()": lambda body: body.readlines(),
    "iteration": lambda body: list(body),
    "next()": lambda body: next(body),
    "read(1)": lambda body: body.read(1),
}


def pattern(size: int) -> bytes:
    """Bytes among which each block of 256 tells its place, with few line feeds."""
    blocks = (bytes([0, *number.to_bytes(3, "big")]) * 64 for number in range(size // 256 + 1))
    return b"".join(blocks)[:size]


def cut(data: bytes, *places: int) -> list[bytes]:
    """The data in pieces that end at the places."""
    ends = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends) if end > start]


def bytewise(data: bytes) -> list[bytes]:
    """The data in pieces of one byte."""
    return cut(data, *range(1, len(data)))


class OpenBody:
    """A body, and what its source holds behind it."""

    def __init__(self, body: CooperativeInput, rest: Callable[[], bytes]) -> None:
        self.body = body
        self.rest = rest


class BodyContract:
    """Inherit it as Test..., with open()."""

    knows_length = True  # whether the source is one whose body has a Content-Length
    most_lost = 0  # bytes that arrived which a source may keep to itself when it breaks
    slice_seconds = 0.0

    def open(
        self, pieces: Sequence[bytes], *, missing: int = 0, trailing: bytes = b""
    ) -> AbstractContextManager[OpenBody]:
        """A body that arrives in these pieces.

        missing: bytes that are announced and never come. trailing: what comes behind the body.
        """
        raise NotImplementedError

    def run(self, function: Callable[[], object]) -> None:
        """Run a test where such a body is read: in a greenlet that takes turns."""
        with hub_scheduler(self.slice_seconds):
            in_greenlet(function)

    def check(
        self, pieces: Sequence[bytes], test: Callable[[CooperativeInput], object], **more: Any
    ) -> None:
        """Run a test on a new body."""

        def run() -> None:
            with self.open(pieces, **more) as opened:
                test(opened.body)

        self.run(run)

    def test_whole(self) -> None:
        """read() returns everything, and then the end, as often as one asks."""

        def test(body: CooperativeInput) -> None:
            assert body.read() == TEXT
            assert body.received == len(TEXT)
            for _ in range(2):
                assert body.read() == b""
                assert body.read(5) == b""
                assert body.readline() == b""
                assert body.readlines() == []
                assert list(body) == []
            assert not body.failed

        self.check([TEXT], test)

    def test_empty(self) -> None:
        """A body of no bytes is at its end."""

        def test(body: CooperativeInput) -> None:
            assert body.read() == b""
            assert body.readline() == b""
            assert list(body) == []

        self.check([], test)

    @pytest.mark.parametrize("size", [1, 2, 3, 7, len(TEXT) - 1, len(TEXT), len(TEXT) + 1])
    def test_read_is_exact(self, size: int) -> None:
        """read(n) returns n bytes, and fewer only at the end, however they arrive."""
        model = io.BytesIO(TEXT)
        expected = [model.read(size) for _ in range(len(TEXT) // size + 2)]

        def test(body: CooperativeInput) -> None:
            assert [body.read(size) for _ in expected] == expected

        for pieces in ([TEXT], bytewise(TEXT), cut(TEXT, 10, 11, 30)):
            self.check(pieces, test)

    def test_read_of_nothing(self) -> None:
        """read(0) and readline(0) take nothing."""

        def test(body: CooperativeInput) -> None:
            assert (body.read(0), body.readline(0), body.received) == (b"", b"", 0)
            assert body.read() == TEXT

        self.check([TEXT], test)

    def test_split_at_every_offset(self) -> None:
        """The result does not depend on how the bytes arrive."""

        def read(body: CooperativeInput) -> None:
            assert body.read() == TEXT

        def mixed(body: CooperativeInput) -> None:
            model = io.BytesIO(TEXT)
            assert body.read(3) == model.read(3)
            assert body.readline() == model.readline()
            assert body.read(15) == model.read(15)
            assert body.readline(4) == model.readline(4)
            assert body.readlines() == model.readlines()

        def lines(body: CooperativeInput) -> None:
            assert list(body) == TEXT.splitlines(keepends=True)

        for place in range(1, len(TEXT)):
            for test in (read, mixed, lines):
                self.check(cut(TEXT, place), test)

    def test_byte_by_byte(self) -> None:
        """The same in pieces of one byte."""

        def read(body: CooperativeInput) -> None:
            assert body.read() == TEXT

        def lines(body: CooperativeInput) -> None:
            assert body.readlines() == TEXT.splitlines(keepends=True)

        self.check(bytewise(TEXT), read)
        self.check(bytewise(TEXT), lines)

    @pytest.mark.parametrize("limit", [1, 2, 5, 6, 7, 100])
    def test_limited_lines(self, limit: int) -> None:
        """readline(n) returns at most n bytes of a line."""
        model = io.BytesIO(TEXT)
        expected = list(iter(lambda: model.readline(limit), b""))

        def test(body: CooperativeInput) -> None:
            assert list(iter(lambda: body.readline(limit), b"")) == expected

        for pieces in ([TEXT], bytewise(TEXT), cut(TEXT, 5), cut(TEXT, 6)):
            self.check(pieces, test)

    @pytest.mark.parametrize("hint", [None, -1, 0, 1, 5, 6, 7, 18, 19, 100])
    def test_readlines_with_a_hint(self, hint: int | None) -> None:
        """It stops after the line with which `hint` bytes were read, as io's do."""
        model = io.BytesIO(TEXT)
        expected = [model.readlines(hint), model.readlines(hint), model.read()]

        def test(body: CooperativeInput) -> None:
            assert [body.readlines(hint), body.readlines(hint), body.read()] == expected

        self.check([TEXT], test)

    @pytest.mark.parametrize("size", SIZES)
    def test_around_every_threshold(self, size: int) -> None:
        """Byte for byte, read as werkzeug does and whole."""
        data = pattern(size)

        def blocks(body: CooperativeInput) -> None:
            read = list(iter(lambda: body.read(64 * 1024), b""))
            assert {len(block) for block in read[:-1]} <= {64 * 1024}
            assert b"".join(read) == data

        def whole(body: CooperativeInput) -> None:
            assert body.read() == data

        self.check([data], blocks)
        self.check(cut(data, 1000, 70_000, 70_001), whole)

    @pytest.mark.parametrize("method", METHODS)
    def test_the_next_request_is_left_alone(self, method: str) -> None:
        """Not one byte behind the body is taken from the source."""
        data = TEXT if method != "read(1)" else b"x"
        data = data if "line()" not in method and method != "next()" else b"one line"
        data = data if method != "readline(large)" else b"one line"

        def run() -> None:
            with self.open([data], trailing=TRAILING) as opened:
                METHODS[method](opened.body)
                assert opened.body.read() == b""
                assert opened.rest() == TRAILING

        self.run(run)

    def test_the_next_request_in_the_same_piece(self) -> None:
        """However far into the piece the body reaches."""

        def run(size: int) -> None:
            with self.open([TEXT[:size]], trailing=TRAILING) as opened:
                assert opened.body.read(size) == TEXT[:size]
                assert opened.body.readline() == b""
                assert opened.rest() == TRAILING

        for size in range(1, len(TEXT)):
            self.run(lambda size=size: run(size))  # type: ignore[misc]

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("arrived", [0, 1, 6, 20, len(TEXT)])
    def test_truncated(self, arrived: int, method: str) -> None:
        """Every method raises what is missing, once all that came has been given out."""
        line_or_byte = method in ("readline()", "readline(large)", "next()", "read(1)")

        def test(body: CooperativeInput) -> None:
            given = b""

            def read_on() -> None:
                nonlocal given
                while result := METHODS[method](body):
                    given += result

            with pytest.raises(IncompleteBody) as caught:
                read_on()
            assert TEXT[:arrived].startswith(given)
            if line_or_byte:
                complete = TEXT[:arrived].rfind(b"\n") + 1 if "1" not in method else arrived
                assert len(given) == complete
            else:
                assert given == b""
            self.check_error(caught.value, arrived, body)

        self.check([TEXT[:arrived]], test, missing=5)

    @pytest.mark.parametrize("arrived", [0, 1, len(TEXT), SIZES[0], SIZES[-1]])
    def test_blocks_hand_out_all_that_arrived(self, arrived: int) -> None:
        """Of a body that breaks: whoever resumes uploads counts each byte of it."""
        data = pattern(arrived)

        def test(body: CooperativeInput) -> None:
            blocks: list[bytes] = []
            with pytest.raises(IncompleteBody) as caught:
                blocks.extend(body.blocks())
            came = b"".join(blocks)
            assert data.startswith(came)
            assert arrived - len(came) <= self.most_lost
            assert caught.value.received == len(came)

        self.check(cut(data, arrived // 3), test, missing=5)

    def test_truncated_at_every_offset(self) -> None:
        """There is no place at which a missing rest goes unseen."""

        def test(arrived: int) -> Callable[[CooperativeInput], None]:
            def check(body: CooperativeInput) -> None:
                with pytest.raises(IncompleteBody) as caught:
                    body.read(len(TEXT))
                self.check_error(caught.value, arrived, body)

            return check

        for arrived in range(len(TEXT)):
            self.check(
                cut(TEXT[:arrived], arrived // 2), test(arrived), missing=len(TEXT) - arrived
            )

    def check_error(self, error: IncompleteBody, arrived: int, body: CooperativeInput) -> None:
        """Both numbers are right, and each further call raises it again."""
        assert error.received == body.received == arrived
        if self.knows_length:
            assert error.expected is not None
            assert error.expected > arrived
        else:
            assert error.expected is None
        assert body.failed
        for again in METHODS.values():
            with pytest.raises(IncompleteBody) as caught:
                again(body)
            assert caught.value.received == arrived

    @CONTRACT_SETTINGS
    @given(
        data=st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r\n", b"x" * 20, b"y" * 1500])).map(
            b"".join
        ),
        places=st.lists(st.floats(0, 1, exclude_max=True), max_size=8),
        calls=st.lists(
            st.tuples(
                st.sampled_from(["read", "readline", "readlines"]),
                st.one_of(st.none(), st.integers(-1, 50), st.integers(1000, 5000)),
            ),
            max_size=20,
        ),
    )
    def test_as_bytesio(
        self,
        data: bytes,
        places: list[float],
        calls: list[tuple[str, int | None]],
    ) -> None:
        """Any calls on any bytes in any pieces give what io.BytesIO gives."""
        model = io.BytesIO(data)

        def test(body: CooperativeInput) -> None:
            for name, argument in calls:
                assert getattr(body, name)(argument) == getattr(model, name)(argument)
            assert body.read() == model.read()

        self.check(cut(data, *[int(place * len(data)) for place in places]), test)

    def test_no_readinto(self) -> None:
        """werkzeug would take another path than over gunicorn's own body."""

        def test(body: CooperativeInput) -> None:
            assert not hasattr(body, "readinto")

        self.check([b"x"], test)
