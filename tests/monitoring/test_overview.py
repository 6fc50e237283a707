"""What is told of all processes that share a board, number by number."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from boards import new_board, shared_board, upload
from forked import Forked
from greenlets import in_greenlet

import cooperative_upload
from cooperative_upload.monitoring import monitor
from cooperative_upload.monitoring.board import (
    DURATION_BOUNDS,
    ENDINGS,
    GAUGES,
    LAG_BOUNDS,
    LAG_SECONDS,
    NUMBERS,
    State,
)
from cooperative_upload.monitoring.monitor import spending
from cooperative_upload.monitoring.overview import STATES, UploadOverview, find_progress, overview

AN_ID = "0123456789abcdef"
ANOTHER_ID = "fedcba9876543210"
SECONDS = 1000.0  # by which the tests move what happened into the past
NEARLY = 5.0  # seconds that a test may take


@pytest.fixture(autouse=True)
def board() -> Iterator[None]:
    """One that this process shares with those that it forks."""
    with shared_board():
        yield


def the_upload() -> UploadOverview:
    """What is told of the only one."""
    (told,) = overview().uploads
    return told


# Uploads


def test_an_upload_as_it_begins() -> None:
    """All that is known of it, and zeros for the rest."""
    upload(method="PUT", path="/a", client="10.0.0.1", expected=5_000_000_000)
    told = the_upload()
    assert told.id.startswith(f"{os.getpid()}-")
    assert 0 <= told.seconds < NEARLY
    assert dataclasses.asdict(told) == {
        "id": told.id,
        "worker": os.getpid(),
        "client": "10.0.0.1",
        "method": "PUT",
        "path": "/a",
        "received": 0,
        "expected": 5_000_000_000,
        "rate": 0.0,
        "seconds": told.seconds,
        "state": "reading",
        "waited_for_turns": 0.0,
        "waited_for_client": 0.0,
        "waited_for_disk": 0.0,
    }


def test_an_upload_of_unknown_size() -> None:
    """None, and not a number that somebody might draw; an empty one is known to be empty."""
    upload(expected=None, chosen_id=AN_ID)
    assert the_upload().expected is None
    progress = find_progress(AN_ID)
    assert progress is not None
    assert progress.size is None
    upload(expected=0)
    assert [each.expected for each in overview().uploads] == [None, 0]


def test_how_far_it_is() -> None:
    """As it is at the moment, and what was told before stays."""
    record = upload(expected=1 << 42).record
    before = the_upload()
    record.received = 1 << 41
    record.rate = 1e9
    record.began -= SECONDS
    told = the_upload()
    assert (told.received, told.expected, told.rate) == (1 << 41, 1 << 42, 1e9)
    assert SECONDS <= told.seconds < SECONDS + NEARLY
    assert before.received == 0


@pytest.mark.parametrize("account", ["turns", "client", "disk"])
def test_what_it_waited_for(account: str) -> None:
    """Each on its own account."""
    setattr(upload().record, f"waited_for_{account}", 2.5)
    told = dataclasses.asdict(the_upload())
    waits = {name: told[f"waited_for_{name}"] for name in ("turns", "client", "disk")}
    assert waits == {**dict.fromkeys(waits, 0.0), account: 2.5}


WAITS = {
    State.READING: "reading",
    State.WAITING_FOR_A_PLACE: "waiting for a place",
    State.WAITING_FOR_ITS_TURN: "waiting for its turn",
    State.WAITING_FOR_THE_CLIENT: "waiting for the client",
    State.WRITING: "writing",
}


@pytest.mark.parametrize("state", WAITS)
def test_states(state: int) -> None:
    """What it does now; once all has come it answers, unless it waits for something."""
    record = upload().record
    record.state = state
    assert the_upload().state == WAITS[state]
    record.arrived = time.monotonic()
    assert the_upload().state == ("answering" if state == State.READING else WAITS[state])
    record.draining = 1
    assert the_upload().state == "draining"


def test_there_is_a_test_of_every_state() -> None:
    assert {*WAITS.values(), "answering", "draining"} == set(STATES)


def test_a_wait_is_told_while_it_lasts_and_counted_behind_it() -> None:
    """Of the upload of the greenlet that waits; also if the wait ends by an error."""
    running = upload()
    upload(path="/another")

    def wait(error: BaseException | None) -> None:
        with running.running(), spending(State.WRITING, "waited_for_disk"):
            gevent.sleep(0.05)
            states = [each.state for each in overview().uploads]
            assert states == ["writing", "reading"]
            if error is not None:
                raise error

    in_greenlet(lambda: wait(None))
    first, other = overview().uploads
    assert 0.05 <= first.waited_for_disk < NEARLY
    with pytest.raises(gevent.Timeout):
        in_greenlet(lambda: wait(gevent.Timeout()))
    again, _ = overview().uploads
    assert again.waited_for_disk >= first.waited_for_disk + 0.05
    assert (again.state, other.waited_for_disk) == ("reading", 0.0)


def test_a_wait_of_nobodys_upload() -> None:
    """A greenlet of the application's own waits on no account."""
    running = upload()

    def wait() -> None:
        with spending(State.WRITING, "waited_for_disk"):
            assert the_upload().state == "reading"

    with running.running():
        in_greenlet(wait)
    assert the_upload().waited_for_disk == 0.0


def test_uploads_are_told_in_the_order_of_their_beginning() -> None:
    """Of all processes together, and those that ended are not told."""
    with Forked(lambda: bool(upload(path="/1"))) as first:
        first.result()
        upload(path="/2")
        ended = upload(path="/ended")
        with Forked(lambda: bool(upload(path="/3"))) as second:
            second.result()
            upload(path="/4")
            ended.ended("complete", 200)
            told = overview().uploads
            assert [each.path for each in told] == ["/1", "/2", "/3", "/4"]
            workers = [first.pid, os.getpid(), second.pid, os.getpid()]
            assert [each.worker for each in told] == workers
            assert len({each.id for each in told}) == 4


def test_an_id_is_of_one_upload() -> None:
    """It stays while the upload runs, and the next in the same record has another."""
    running = upload(chosen_id=AN_ID)
    told = the_upload()
    running.record.received = 1
    assert the_upload().id == told.id
    assert AN_ID not in told.id
    running.ended("complete", 200)
    upload()
    assert the_upload().id != told.id


# Workers


def test_workers_are_told_in_the_order_of_their_beginning() -> None:
    """With their ages and the number of their uploads."""
    with Forked(lambda: [bool(upload()), bool(upload())]) as first:
        first.result()
        ended = upload()
        upload()
        ended.ended("complete", 200)
        sheet = monitor.current_sheet()
        with Forked(lambda: monitor.count("complete")) as second:
            second.result()
            workers = overview().workers
            assert [(each.pid, each.uploads) for each in workers] == [
                (first.pid, 2),
                (os.getpid(), 1),
                (second.pid, 0),
            ]
            assert NEARLY > workers[0].seconds > workers[1].seconds > workers[2].seconds > 0
            sheet.began -= SECONDS
            oldest = overview().workers[0]
            assert oldest.pid == os.getpid()
            assert SECONDS <= oldest.seconds < SECONDS + NEARLY


def test_silence() -> None:
    """None where nobody looks; else since the loop went round, never below 0."""
    sheet = monitor.current_sheet()
    assert [each.silent_seconds for each in overview().workers] == [None]
    sheet.alive = time.monotonic() - SECONDS
    (silent,) = [each.silent_seconds for each in overview().workers]
    assert silent is not None
    assert SECONDS <= silent < SECONDS + NEARLY
    sheet.alive = time.monotonic() + SECONDS
    assert [each.silent_seconds for each in overview().workers] == [0.0]


@pytest.mark.parametrize("seconds", [0, 1, LAG_SECONDS, LAG_SECONDS + 1, 10 * LAG_SECONDS + 7])
def test_lag_of_the_last_seconds(seconds: int) -> None:
    """The latest last, and no more than are kept."""
    sheet = monitor.current_sheet()
    for second in range(seconds):
        sheet.lag_of_seconds[sheet.seconds % LAG_SECONDS] = float(second)
        sheet.seconds += 1
    (worker,) = overview().workers
    assert worker.lag == [float(n) for n in range(max(0, seconds - LAG_SECONDS), seconds)]


def test_lag_of_a_new_worker() -> None:
    """Has none of the one whose sheet it took."""

    def have_lag() -> None:
        sheet = monitor.current_sheet()
        sheet.lag_of_seconds[0] = 1.0
        sheet.seconds = 1

    with Forked(have_lag) as process:
        process.result()
        assert [each.lag for each in overview().workers] == [[1.0]]
    monitor.count("complete")
    assert [each.lag for each in overview().workers] == [[]]


# Sums


def count_all(times: int) -> None:
    for position, name in enumerate(NUMBERS):
        monitor.count(name, times * position)


def test_numbers_are_sums() -> None:
    """Of those that run and of those that have gone, each under its name."""
    with Forked(lambda: count_all(1)) as gone, Forked(lambda: count_all(10)) as running:
        for each in (gone, running):
            each.result()
        count_all(100)
        numbers = {name: 111 * position for position, name in enumerate(NUMBERS)}
        assert overview().numbers == numbers
        gone.die()
        of_the_dead = dict(zip(NUMBERS, range(len(NUMBERS)), strict=True))
        for name in GAUGES:
            numbers[name] -= of_the_dead[name]
        numbers["killed"] += of_the_dead["uploads"]  # they have no records
        assert overview().numbers == numbers
    assert monitor.upload_statistics() == {
        name: 100 * position for position, name in enumerate(NUMBERS)
    }


def test_all_names_are_there_from_the_beginning() -> None:
    """Whoever draws them has a 0, also where nobody has counted."""
    assert overview().numbers == dict.fromkeys(NUMBERS, 0)
    assert overview().arrival.counts == [0] * (len(DURATION_BOUNDS) + 1)


@pytest.mark.parametrize(
    ("name", "attribute", "bounds"),
    [
        ("loop_lag", "lag", LAG_BOUNDS),
        ("arrival", "arrival", DURATION_BOUNDS),
        ("turn_wait", "turn_wait", DURATION_BOUNDS),
    ],
)
def test_histograms_are_sums(name: str, attribute: str, bounds: tuple[float, ...]) -> None:
    """Class by class, of processes that have gone too."""

    def observe(*values: float) -> None:
        histogram = getattr(monitor.current_sheet(), attribute)
        for value in values:
            histogram.observe(bounds, value)

    with Forked(lambda: observe(bounds[0], bounds[1])) as gone:
        gone.result()
    with Forked(lambda: observe(bounds[1])) as running:
        running.result()
        observe(2 * bounds[-1])
        told = getattr(overview(), name)
    assert told.bounds == list(bounds)
    assert told.counts == [1, 2, *[0] * (len(bounds) - 2), 1]
    assert told.sum == pytest.approx(bounds[0] + 2 * bounds[1] + 2 * bounds[-1])


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_upload_is_in_the_histograms_once(ending: str) -> None:
    """However it ended: what did not come whole counts until its end."""
    running = upload()
    running.record.received = 10
    running.record.began -= 7.0
    running.record.waited_for_turns = 0.3
    if ending == "complete":
        running.record.arrived = running.record.began + 3.0
    running.ended(ending, 200)
    now = overview()
    bound = 5.0 if ending == "complete" else 10.0
    for told, value in ((now.arrival, bound), (now.turn_wait, 0.5)):
        assert [bound for bound, n in zip(told.bounds, told.counts, strict=False) if n] == [value]
        assert sum(told.counts) == 1
    assert now.turn_wait.sum == pytest.approx(0.3)
    assert (now.numbers[ending], now.numbers["bytes"]) == (1, 10)
    assert sum(now.numbers[name] for name in ENDINGS) == 1


def test_rates() -> None:
    """Of the first second as it is, then half of the last second and half of what was before."""
    running = upload()
    rates = []
    for received, seconds in ((1000, 1.0), (3000, 1.0), (3000, 2.0)):
        running.record.received = received
        running.sample_rate(seconds)
        rates.append(the_upload().rate)
    assert rates == [1000.0, 1500.0, 750.0]


# By the id that a client chose


def progress_of(chosen_id: str) -> dict[str, Any]:
    found = find_progress(chosen_id)
    assert found is not None
    return dataclasses.asdict(found)


def test_progress_of_an_upload() -> None:
    """In every process, while it runs and behind its end."""

    def begin() -> None:
        record = upload(chosen_id=AN_ID).record
        record.received = 300
        record.rate = 100.0

    with Forked(begin) as process:
        process.result()
        assert progress_of(AN_ID) == {
            "state": "uploading",
            "received": 300,
            "size": 1000,
            "rate": 100.0,
            "status": 0,
            "ending": None,
        }
        assert find_progress(ANOTHER_ID) is None
        assert find_progress("") is None


@pytest.mark.parametrize(
    ("ending", "status", "state"),
    [
        ("complete", 200, "done"),
        ("complete", 302, "done"),
        ("complete", 400, "error"),
        ("complete", 500, "error"),
        ("incomplete", 400, "error"),
        ("killed", 0, "error"),
    ],
)
def test_progress_behind_the_end(ending: str, status: int, state: str) -> None:
    """Done is what was read to its end and not refused."""
    upload(chosen_id=AN_ID).ended(ending, status)
    told = progress_of(AN_ID)
    assert (told["state"], told["ending"], told["status"]) == (state, ending, status)


def test_progress_of_the_last_of_several() -> None:
    """A client that tries again is told of its second try."""
    upload(chosen_id=AN_ID).ended("incomplete", 400)
    upload(chosen_id=AN_ID, expected=2000)
    assert (progress_of(AN_ID)["state"], progress_of(AN_ID)["size"]) == ("uploading", 2000)


def test_uploads_without_an_id_are_nobodys() -> None:
    upload()
    upload().ended("complete", 200)
    assert find_progress("") is None
    assert find_progress(AN_ID) is None


# By itself


def test_a_process_that_shares_nothing() -> None:
    """Tells its own numbers."""
    with new_board():
        assert (overview().workers, overview().uploads) == ([], [])
        upload()
        monitor.count("complete")
        now = overview()
        assert [each.pid for each in now.workers] == [os.getpid()]
        assert (now.numbers["complete"], now.numbers["uploads"]) == (1, 1)


def test_it_is_public() -> None:
    """For an application's own view of the numbers."""
    assert cooperative_upload.overview is overview
