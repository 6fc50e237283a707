"""Admission: so many uploads at once, in all and for each client, first come, first served."""

from __future__ import annotations

import contextlib
import io
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import gevent
import gevent.event
import pytest
from greenlets import DEADLINE, hub_scheduler, in_greenlet, join, wait_until
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import BodyTooLarge, TooManyUploads
from cooperative_upload.exchange.admission import Admission, client_of
from cooperative_upload.settings import UploadSettings

SHORT = 0.1  # seconds: a time that is waited for


def admission(total: int = 0, each: int = 0, wait: float = 0.0) -> Admission:
    return Admission(
        UploadSettings(
            max_uploads=total, max_uploads_per_client=each, max_uploads_wait_seconds=wait
        )
    )


def let_the_next_run() -> None:
    """Who gets one place may go on to wait for another."""
    for _ in range(3):
        gevent.sleep(0)


@contextlib.contextmanager
def upload_from(admission: Admission, client: str) -> Iterator[None]:
    """What an upload has of the places while it runs."""
    with contextlib.ExitStack() as places:
        admission.take_places(client, places)
        yield


class Upload:
    """An upload in a greenlet of its own, which ends when it is told to."""

    def __init__(self, admission: Admission, client: str = "127.0.0.1") -> None:
        self.client = client
        self.has_place = False
        self.refusal: TooManyUploads | None = None
        self._end = gevent.event.Event()
        self._admission = admission
        self.greenlet = gevent.spawn(self._run)
        gevent.sleep(0)

    def _run(self) -> None:
        try:
            with upload_from(self._admission, self.client):
                self.has_place = True
                try:
                    self._end.wait()
                finally:
                    self.has_place = False
        except TooManyUploads as error:
            self.refusal = error

    @property
    def waits(self) -> bool:
        return not self.has_place and not self.greenlet.ready()

    def end(self) -> None:
        self._end.set()
        join(self.greenlet)
        let_the_next_run()

    def kill(self) -> None:
        self.greenlet.kill()
        let_the_next_run()


def is_empty(admission: Admission, total: int, each: int) -> bool:
    """Whether all places are free, and nothing is kept for any client."""
    with contextlib.ExitStack() as stack:
        for number in range(total):
            client = f"127.0.0.{number // each if each else number}"
            stack.enter_context(upload_from(admission, client))
    return not admission._places_of and not admission._interest


def body(size: int, **more: Any) -> CooperativeInput:
    return CooperativeInput(io.BytesIO(b"x" * size), size, **more)


SMALL, LARGE = UploadSettings().small_body_bytes, UploadSettings().small_body_bytes + 1


def test_an_upload_is_admitted_with_a_place_and_a_turn() -> None:
    """The place is kept until it is given back, and the application is called within a turn."""
    places = admission(total=1)

    def admit() -> None:
        with hub_scheduler() as scheduler, contextlib.ExitStack() as kept:
            places.admit(body(LARGE), "127.0.0.1", kept)
            assert scheduler.has_turn
            with contextlib.ExitStack() as more, pytest.raises(TooManyUploads):
                places.admit(body(LARGE), "127.0.0.2", more)

    in_greenlet(admit)
    assert is_empty(places, 1, 0)


def test_a_small_body_needs_neither() -> None:
    """However many uploads there are."""
    places = admission(total=1)

    def admit() -> None:
        with (
            hub_scheduler() as scheduler,
            upload_from(places, "127.0.0.1"),
            contextlib.ExitStack() as kept,
        ):
            places.admit(body(SMALL), "127.0.0.1", kept)
            assert not scheduler.has_turn
            assert scheduler.statistics().turns == 0

    in_greenlet(admit)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_body_that_is_too_large_is_refused_as_that(size: int) -> None:
    """It takes no place, and waits for none."""
    places = admission(total=1, wait=DEADLINE)

    def admit() -> None:
        with (
            upload_from(places, "127.0.0.1"),
            contextlib.ExitStack() as kept,
            pytest.raises(BodyTooLarge),
        ):
            places.admit(body(size, most_bytes=10), "127.0.0.1", kept)

    in_greenlet(admit)
    assert is_empty(places, 1, 0)


def test_without_limits() -> None:
    """Nobody waits, and nothing is kept for a client."""
    free = admission()
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(upload_from(free, "127.0.0.1"))
        assert not free._places_of
        assert not free._interest


@pytest.mark.parametrize("total", [1, 3])
def test_so_many_in_all(total: int) -> None:
    """One more is refused at once, from whichever address; a place that is free is given."""
    places = admission(total=total)
    with contextlib.ExitStack() as stack:
        for number in range(total):
            stack.enter_context(upload_from(places, f"127.0.0.{number}"))
        with pytest.raises(TooManyUploads) as caught, upload_from(places, "127.0.0.200"):
            raise AssertionError("admitted")
        assert f"this server may have {total}." in str(caught.value)
        assert (caught.value.limit, caught.value.retry_after) == (total, 10)
    assert is_empty(places, total, 0)


@pytest.mark.parametrize("each", [1, 3])
def test_so_many_for_each_client(each: int) -> None:
    """Other clients do not notice."""
    places = admission(each=each)
    with contextlib.ExitStack() as stack:
        for client in ("127.0.0.1", "127.0.0.2"):
            for _ in range(each):
                stack.enter_context(upload_from(places, client))
            with pytest.raises(TooManyUploads) as caught, upload_from(places, client):
                raise AssertionError("admitted")
            assert f"this client may have {each}." in str(caught.value)
        assert len(places._places_of) == 2
    assert not places._places_of
    assert not places._interest


def test_both_limits() -> None:
    """Whichever is reached first; a client that is refused takes no place from the others."""
    places = admission(total=3, each=2)
    with upload_from(places, "127.0.0.1"), upload_from(places, "127.0.0.1"):
        with (
            pytest.raises(TooManyUploads, match="this client"),
            upload_from(places, "127.0.0.1"),
        ):
            raise AssertionError("admitted")
        with (
            upload_from(places, "127.0.0.2"),
            pytest.raises(TooManyUploads, match="this server"),
            upload_from(places, "127.0.0.3"),
        ):
            raise AssertionError("admitted")
    assert is_empty(places, 3, 2)


@pytest.mark.parametrize("error", [ValueError, gevent.GreenletExit, TooManyUploads])
def test_a_failed_upload_gives_its_place_back(error: type[BaseException]) -> None:
    """Whatever the block raises comes out of it."""
    raised = TooManyUploads("this server", 1, 1) if error is TooManyUploads else error()
    places = admission(total=1, each=1)
    for _ in range(3):
        with pytest.raises(error), upload_from(places, "127.0.0.1"):
            raise raised
    assert is_empty(places, 1, 1)


@pytest.mark.parametrize("limits", [{"total": 1}, {"each": 1}])
def test_first_come_first_served(limits: dict[str, int]) -> None:
    """In the order in which they came, one for each place that is given back."""
    places = admission(**limits, wait=DEADLINE)
    uploads = [Upload(places) for _ in range(10)]
    for number, upload in enumerate(uploads):
        assert upload.has_place
        assert all(later.waits for later in uploads[number + 1 :])
        upload.end()
    assert is_empty(places, 1, 1)


@pytest.mark.parametrize("limits", [{"total": 1}, {"each": 1}])
def test_nobody_gets_in_before_those_who_wait(limits: dict[str, int]) -> None:
    """Not even who gives a place back and asks again at once, as for the next request of a
    connection, before the one that waits has noticed."""
    places = admission(**limits, wait=DEADLINE)
    order = []

    def one_after_the_other() -> None:
        for _ in range(3):
            with upload_from(places, "127.0.0.1"):
                order.append("again")
                gevent.sleep(0)

    def once() -> None:
        with upload_from(places, "127.0.0.1"):
            order.append("waited")

    join(gevent.spawn(one_after_the_other), gevent.spawn(once))
    assert order == ["again", "waited", "again", "again"]


def test_who_waits_for_its_own_place_takes_none_from_others() -> None:
    """The line of one client is not that of all."""
    places = admission(total=2, each=1, wait=DEADLINE)
    first, waiting = Upload(places, "127.0.0.1"), Upload(places, "127.0.0.1")
    other = Upload(places, "127.0.0.2")
    assert waiting.waits
    assert other.has_place
    first.end()
    assert waiting.has_place
    other.end()
    waiting.end()
    assert is_empty(places, 2, 1)


@pytest.mark.parametrize("limits", [{"total": 1}, {"each": 1}])
def test_waiting_ends_with_the_time(limits: dict[str, int]) -> None:
    """Refused then, and the line goes on without it."""
    places = admission(**limits, wait=SHORT)
    first = Upload(places)
    began = time.monotonic()
    second = Upload(places)
    assert second.waits
    join(second.greenlet)
    assert SHORT * 0.9 <= time.monotonic() - began < DEADLINE
    assert second.refusal is not None
    third = Upload(places)
    first.end()
    assert third.has_place
    third.end()
    assert is_empty(places, 1, 1)


@pytest.mark.parametrize("limits", [{"total": 1}, {"each": 1}])
def test_killed_while_it_waits(limits: dict[str, int]) -> None:
    """It leaves the line; the one behind it moves up."""
    places = admission(**limits, wait=DEADLINE)
    first, second, third = Upload(places), Upload(places), Upload(places)
    second.kill()
    assert third.waits
    first.end()
    assert third.has_place
    third.end()
    assert is_empty(places, 1, 1)


@pytest.mark.parametrize("limits", [{"total": 1}, {"each": 1}])
def test_killed_between_its_place_and_its_turn(limits: dict[str, int]) -> None:
    """A place that was given to somebody who dies before it runs goes to the next."""
    places = admission(**limits, wait=DEADLINE)

    def test() -> None:
        second = third = None
        with upload_from(places, "127.0.0.1"):
            second, third = Upload(places), Upload(places)
        second.greenlet.kill(block=False)  # the place has just been given back
        wait_until(lambda: third.has_place)
        third.end()

    in_greenlet(test)
    assert is_empty(places, 1, 1)


class AdmissionMachine(RuleBasedStateMachine):
    """Uploads begin, end and are killed at random, against a model of two lines."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads: list[Upload] = []

    @initialize(total=st.integers(0, 3), each=st.integers(0, 2), waits=st.booleans())
    def begin(self, total: int, each: int, waits: bool) -> None:
        self.total, self.each, self.may_wait = total, each, waits
        self.admission = admission(total, each, DEADLINE if waits else 0.0)

    @rule(client=st.sampled_from(["127.0.0.1", "127.0.0.2", "127.0.0.3"]))
    def start(self, client: str) -> None:
        alive = self.alive()
        mine = sum(upload.client == client for upload in alive)
        holding = sum(upload.has_place for upload in alive)
        full = bool(self.each and mine >= self.each) or bool(self.total and holding >= self.total)
        upload = Upload(self.admission, client)
        self.uploads.append(upload)
        assert upload.has_place == (not full)
        assert (upload.refusal is not None) == (full and not self.may_wait)

    @precondition(lambda self: self.alive())
    @rule(data=st.data())
    def end(self, data: Any) -> None:
        holders = [upload for upload in self.alive() if upload.has_place]
        data.draw(st.sampled_from(holders)).end()

    @precondition(lambda self: self.alive())
    @rule(data=st.data())
    def kill(self, data: Any) -> None:
        data.draw(st.sampled_from(self.alive())).kill()

    @invariant()
    def no_place_is_lost_or_given_twice(self) -> None:
        alive = self.alive()
        holding = Counter(upload.client for upload in alive if upload.has_place)
        if self.total:
            assert holding.total() <= self.total
        for client, number in Counter(upload.client for upload in alive).items():
            if self.each:
                assert holding[client] <= self.each
            waits = number > holding[client]
            assert not waits or self.total == holding.total() or self.each == holding[client]

    @invariant()
    def nothing_is_kept_for_clients_that_have_gone(self) -> None:
        clients = {upload.client for upload in self.alive()} if self.each else set()
        assert self.admission._interest.keys() == self.admission._places_of.keys() == clients

    def teardown(self) -> None:
        for upload in self.alive():
            upload.kill()
        assert is_empty(self.admission, self.total, self.each)

    def alive(self) -> list[Upload]:
        self.uploads = [upload for upload in self.uploads if not upload.greenlet.ready()]
        return self.uploads


def test_against_a_model() -> None:
    """Nobody gets a place too many, waits beside a free one, or leaves anything behind."""
    run_state_machine_as_test(
        AdmissionMachine,
        settings=hypothesis_settings(
            deadline=None,
            max_examples=50,
            stateful_step_count=30,
            derandomize="CI" in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_ten_thousand_uploads() -> None:
    """At random they come, end, give up and are killed; in the end all places are there."""
    choose = random.Random(0)
    total, each = 5, 2
    places = admission(total, each, wait=0.001)
    holding: Counter[str] = Counter()
    seen: Counter[str] = Counter()

    def upload(client: str, rounds: int) -> None:
        try:
            with upload_from(places, client):
                holding[client] += 1
                seen["admitted"] += 1
                try:
                    assert holding.total() <= total
                    assert holding[client] <= each
                    for _ in range(rounds):
                        gevent.sleep(0)
                finally:
                    holding[client] -= 1
        except TooManyUploads:
            seen["refused"] += 1
        except gevent.GreenletExit:
            seen["killed"] += 1

    uploads: list[Any] = []
    for _ in range(10_000):
        client = f"127.0.0.{choose.randrange(5)}"
        uploads.append(gevent.spawn(upload, client, choose.randrange(4)))
        if choose.random() < 0.1:
            choose.choice(uploads[-10:]).kill(block=False)
        if choose.random() < 0.3:
            gevent.sleep(0)
    join(*uploads)
    assert min(seen["admitted"], seen["refused"], seen["killed"]) > 100, seen
    assert is_empty(places, total, each)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:DB8::1", "2001:db8:0:0::2", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "a Unix socket", False),
    ],
)
def test_who_is_one_client(one: str, other: str, same: bool) -> None:
    """Of IPv6 a whole network, each of whose addresses its customer can use."""
    assert (client_of(one, 64) == client_of(other, 64)) == same


def test_the_network_of_a_client_is_a_setting() -> None:
    for prefix, allowed in ((64, False), (128, True), (48, False)):
        limited = Admission(UploadSettings(max_uploads_per_client=1, client_ipv6_bits=prefix))
        with upload_from(limited, "2001:db8::1"), contextlib.ExitStack() as second:
            if not allowed:
                second.enter_context(pytest.raises(TooManyUploads))
            with upload_from(limited, "2001:db8::2"):
                pass
        assert not limited._places_of  # nothing is kept of who has gone
