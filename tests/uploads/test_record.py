"""The record of an upload, without I/O: any requests in any order, beside a model."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cooperative_upload.storage import Ranges
from cooperative_upload.uploads import (
    Answer,
    InconsistentLength,
    LargerThanDeclared,
    Limits,
    NotAppendable,
    RefusedUpload,
    State,
    Superseded,
    TooManyGaps,
    Upload,
    UploadGone,
    UploadRefusal,
    WrongOffset,
)
from cooperative_upload.uploads.record import (
    MOST_PIECES,
    checking,
    declared,
    expired_at,
    fell_back,
    let_go,
    made_expired,
    made_ready,
    made_refused,
    taken,
    with_bytes,
    without_bytes,
)
from cooperative_upload.uploads.rows import row_of, upload_of

MOST = 12  # bytes: every offset is met
SIZES = st.integers(0, MOST)
PROCESSES = st.sampled_from(["a", "b"])

ENDED = (State.READY, State.REFUSED, State.EXPIRED)


def new(size: int | None = None, **more: object) -> Upload:
    """An upload as it begins."""
    begun = Upload(
        id="i",
        owner="o",
        state=State.OPEN,
        size=size,
        received=Ranges(),
        name=None,
        content_type=None,
        metadata={},
        key="k",
        created=0.0,
        expires=10.0,
        token={"key": "k"},
    )
    return dataclasses.replace(begun, **more)  # type: ignore[arg-type]


class Machine(RuleBasedStateMachine):
    """Requests of two processes, of which each step is taken once or, not knowing, twice.

    The model: which bytes were acknowledged, and who may still commit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.upload = new()
        self.bytes: set[int] = set()
        self.history = [self.upload]
        self.holds: list[tuple[str, int, int]] = []  # process, generation, offset

    def take(self, step: Callable[[Upload], Upload], again: bool) -> bool:
        """Whether the step was taken; what is refused changes nothing."""
        try:
            after = step(self.upload)
        except UploadRefusal:
            return False
        if again:  # nobody knew whether it was committed
            try:
                once_more = step(after)
            except Superseded:
                once_more = after
            assert (once_more.state, once_more.received) == (after.state, after.received)
            after = once_more
        self.upload = after
        self.history.append(after)
        return True

    @rule(process=PROCESSES, offset=SIZES, length=SIZES, again=st.booleans())
    def begin(self, process: str, offset: int, length: int, again: bool) -> None:
        """A request goes on somewhere: at the offset, or it is told which one that is."""
        before = self.upload
        went_on = self.take(lambda now: taken(now, process, offset, length, None), again)
        fits = before.size is None or offset + length <= before.size
        may = before.state is State.OPEN and offset == before.offset and fits
        assert went_on == may
        if went_on:
            self.holds.append((process, self.upload.generation, offset))

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), length=SIZES, again=st.booleans(), ends=st.booleans())
    def commit(self, data: st.DataObject, length: int, again: bool, ends: bool) -> None:
        """Whoever has a hold commits, late ones too: those change nothing."""
        _, generation, offset = data.draw(st.sampled_from(self.holds))
        if self.upload.size is not None:
            length = min(length, self.upload.size - offset)
        new_bytes = Ranges.of([(offset, offset + length)])
        before = self.upload

        def step(now: Upload) -> Upload:
            after = with_bytes(now, generation, new_bytes, 10.0)
            return let_go(after) if ends else after

        if self.take(step, again):
            assert before.generation == generation
            if before.state is State.OPEN:
                self.bytes |= set(range(offset, offset + length))

    @rule(size=SIZES, again=st.booleans())
    def declare(self, size: int, again: bool) -> None:
        """The length is said once."""
        before = self.upload
        if self.take(lambda now: declared(now, size), again):
            assert self.upload.size == size
            assert before.size in (None, size)

    @rule(process=PROCESSES, again=st.booleans())
    def check(self, process: str, again: bool) -> None:
        """What is whole can be finished, and nothing else; a later one takes it over."""
        before = self.upload
        if self.take(lambda now: checking(now, process), again) and not before.ready:
            assert self.upload.size is not None
            assert self.bytes == set(range(self.upload.size))
            self.holds.append((process, self.upload.generation, self.upload.size))

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), again=st.booleans(), well=st.booleans())
    def end_check(self, data: st.DataObject, again: bool, well: bool) -> None:
        """Ready, or back; by who has it."""
        _, generation, _ = data.draw(st.sampled_from(self.holds))
        if self.upload.state is not State.CHECKING:
            return
        before = self.upload
        step = made_ready if well else fell_back
        assert self.take(lambda now: step(now, generation), again) == (
            before.generation == generation
        )

    @precondition(lambda self: self.upload.state is not State.READY)
    @rule(again=st.booleans())
    def refuse(self, again: bool) -> None:
        """A check failed."""
        if self.take(lambda now: made_refused(now, 422, "bad", 20.0), again):
            assert self.upload.state in (State.REFUSED, State.READY)

    @rule(again=st.booleans(), now=st.sampled_from([5.0, 15.0, 25.0]))
    def expire(self, again: bool, now: float) -> None:
        """Time passes; what is being finished is left alone."""
        before = self.upload
        self.take(lambda upload: expired_at(upload, now), again)
        if before.state in (State.RECEIVED, State.CHECKING, State.READY):
            assert self.upload == before

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        """The bytes are those that were committed, and the offset never goes back."""
        there = {byte for start, stop in self.upload.received for byte in range(start, stop)}
        assert there == self.bytes
        offsets = [upload.offset for upload in self.history]
        assert offsets == sorted(offsets)

    @invariant()
    def the_end_is_the_end(self) -> None:
        """Nothing leads out of an end but removal."""
        states = [upload.state for upload in self.history]
        for end in ENDED:
            if end in states:
                after = set(states[states.index(end) :])
                assert after <= {end, State.EXPIRED}

    @invariant()
    def generations_grow(self) -> None:
        """Whoever lost a hold never gets it back."""
        generations = [upload.generation for upload in self.history]
        assert generations == sorted(generations)

    @invariant()
    def a_row_keeps_it(self) -> None:
        """As JSON does."""
        assert upload_of(json.loads(json.dumps(row_of(self.upload)))) == self.upload


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=200, stateful_step_count=25, deadline=None, derandomize="CI" in os.environ
)


def test_a_row_keeps_everything() -> None:
    """Whatever a field can hold."""
    upload = new(
        2**63 - 1,
        received=Ranges.of([(0, 5), (2**62, 2**63 - 1)]),
        name="☃",
        content_type="a/b",
        metadata={"ä": "ö"},
        parts=("x", "y"),
        part_of="z",
        alias="w",
        digests={"md5": b"\0\xff"},
        limits=Limits(1, ("image/*",), 2, 3),
        refusal=(422, "no"),
        answer=Answer(200, (("A", "b"), ("A", "c")), "☃"),
        holder="h",
        stop_requested=True,
        placing=True,
        partial=True,
    )
    assert upload_of(json.loads(json.dumps(row_of(upload)))) == upload


@pytest.mark.parametrize(
    ("upload", "error"),
    [
        (new(5, received=Ranges.of([(0, 5)]), state=State.RECEIVED), NotAppendable),
        (new(5, received=Ranges.of([(0, 5)]), parts=("x",), state=State.READY), NotAppendable),
        (made_expired(new(5)), UploadGone),
        (made_refused(new(5), 415, "no", 1.0), RefusedUpload),
        (new(5, received=Ranges.of([(0, 4)])), WrongOffset),
        (new(5, received=Ranges.of([(0, 5)])), LargerThanDeclared),
    ],
)
def test_why_nothing_can_be_added(upload: Upload, error: type[Exception]) -> None:
    """Each state says it in its own way."""
    with pytest.raises(error):
        taken(upload, "a", 5, 1, None)


def test_too_many_pieces() -> None:
    """A row has its bounds."""
    pieces = Ranges.of((at, at + 1) for at in range(0, 2 * MOST_PIECES + 2, 2))
    with pytest.raises(TooManyGaps):
        with_bytes(new(), 0, pieces, None)


def test_a_size_below_what_is_there() -> None:
    """Bytes behind a gap count, too."""
    with pytest.raises(InconsistentLength):
        declared(new(received=Ranges.of([(8, 9)])), 8)


def test_what_counts_as_the_owners() -> None:
    """The declared size, else what has come; nothing of what is refused."""
    assert new(5).reserved == 5
    assert new(received=Ranges.of([(0, 2), (4, 5)])).reserved == 3
    assert made_refused(new(5), 422, "no", 1.0).reserved == 0
    assert without_bytes(made_refused(new(5), 422, "no", 1.0)).reserved == 0
