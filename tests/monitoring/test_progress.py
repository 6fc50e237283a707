"""How far the upload with an id is: what is found of it, and what UploadProgress answers."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from checkout import SUPPORT
from greenlets import in_greenlet, running, wait_until
from wsgi import Call, call, environ

from cooperative_upload import SettingsError, UploadProgress
from cooperative_upload.monitoring import board, monitor, progress
from cooperative_upload.monitoring.board import RECORDS, Board, Sheet, UploadRecord
from cooperative_upload.monitoring.monitor import KEPT_SECONDS, Upload
from cooperative_upload.monitoring.overview import Progress, find_progress
from cooperative_upload.monitoring.upload_id import RULE, key_of

ID = "an-id-that-is-long-enough"
EVENTS = "text/event-stream"
STARTING = {
    "state": "starting",
    "received": 0,
    "size": None,
    "status": 0,
    "rate": 0,
    "ending": None,
}


@pytest.fixture(autouse=True)
def new_board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """A board of four sheets, with nothing on it."""
    new = Board(4)
    monkeypatch.setattr(monitor, "_board", new)
    monkeypatch.setattr(monitor, "_process", None)
    return new


@pytest.fixture
def worker_ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Says to the streams that the worker is to end; not beyond the test."""
    monkeypatch.setattr(progress, "_worker_ends", False)
    return progress.end_streams


def begin(chosen: str = ID, expected: int | None = 100, received: int = 0) -> Upload:
    upload = Upload("POST", "/upload", "192.0.2.1", expected, chosen)
    upload.record.received = received
    return upload


def found(chosen: str = ID) -> Progress:
    progress = find_progress(chosen)
    assert progress is not None
    return progress


# What is found


@pytest.mark.parametrize(
    ("ending", "status", "expected"),
    [
        ("complete", 200, "done"),
        ("complete", 303, "done"),
        ("drained", 200, "done"),  # nobody read it, and its client was told that all is well
        ("complete", 0, "error"),  # the application failed, and the server answered
        ("complete", 500, "error"),
        ("complete", 422, "error"),
        ("drained", 401, "error"),
        ("unread", 200, "error"),
        ("unread", 413, "error"),
        ("incomplete", 400, "error"),
        ("incomplete", 0, "error"),
        ("incomplete", 200, "error"),
        ("corrupt", 400, "error"),
        ("killed", 0, "error"),
        ("killed", 503, "error"),
        ("turned_away", 503, "error"),
        ("not_stored", 507, "error"),
    ],
)
def test_the_states_of_an_upload(ending: str, status: int, expected: str) -> None:
    """ "done" is what came whole and was accepted, and nothing else."""
    upload = begin()
    assert found() == Progress("uploading", 0, 100, 0.0, 0, None)
    upload.record.received, upload.record.rate = 60, 12.5
    assert found() == Progress("uploading", 60, 100, 12.5, 0, None)
    upload.ended(ending, status)
    assert found() == Progress(expected, 60, 100, 12.5, status, ending)


def test_every_ending_has_a_state() -> None:
    for ending in board.ENDINGS:
        upload = begin()
        upload.ended(ending, 200)
        assert found().state == ("done" if ending in ("complete", "drained") else "error")


def test_refused_before_it_has_ended() -> None:
    """The response is out, and what is left of the body is thrown away."""
    begin().record.status = 403
    assert (found().state, found().status, found().ending) == ("error", 403, None)


def test_an_unknown_size() -> None:
    begin(expected=None, received=7)
    assert (found().received, found().size) == (7, None)


def test_none_is_found() -> None:
    """By another id, or by none; not one without an id either."""
    begin()
    begin("")
    assert find_progress(ID + "x") is None
    assert find_progress(ID[:-1]) is None
    assert find_progress("") is None


def test_the_newest_counts() -> None:
    """A retry with the same id, while the server has not noticed the end of the first."""
    first = begin(received=50)
    begin(received=1)
    assert found().received == 1
    first.ended("incomplete")
    assert (found().state, found().received) == ("uploading", 1)


def test_the_newest_counts_wherever_it_is(new_board: Board) -> None:
    """Of several workers; clocks are the same for all processes."""
    begin(received=50)
    other = new_board._sheets[2]
    other.began = 1.0
    other.records_used = 1
    record = other.records[0]
    record.received, record.number, record.began = 1, 1, time.monotonic()
    other.keys[0].raw = key_of(ID)
    assert found().received == 1
    record.began -= 3600
    assert found().received == 50


def test_it_is_kept_for_a_while() -> None:
    upload = begin()
    record = upload.record
    upload.ended("complete", 200)
    assert found().state == "done"
    record.ended -= KEPT_SECONDS - 1
    assert found().state == "done"
    record.ended -= 2
    assert find_progress(ID) is None


def test_a_record_has_one_upload_at_a_time() -> None:
    """Who had it before is not found by it any more, whether or not the next has an id."""
    uploads = [begin(f"{ID}-{i}") for i in range(RECORDS)]
    assert find_progress(f"{ID}-0") is not None
    for upload in uploads[:2]:
        upload.ended("complete", 200)
    begin("")
    begin(ID)
    assert find_progress(f"{ID}-0") is None
    assert find_progress(f"{ID}-1") is None
    assert found().state == "uploading"
    begin("one-more-than-there-are-records")  # receives all the same, and is not told of
    assert find_progress("one-more-than-there-are-records") is None
    assert find_progress(f"{ID}-{RECORDS - 1}") is not None


def test_half_a_key_next_to_another_is_none(new_board: Board) -> None:
    """Keys lie side by side: what begins in one and goes on in the next is neither."""
    begin("first-of-the-two-ids")
    begin("second-of-the-two-ids")
    sheet = monitor.current_sheet()
    key = bytes(sheet.keys)[5 : 5 + len(key_of(ID))]
    assert list(sheet.uploads_with(key)) == []
    assert len(list(sheet.uploads_with(key_of("second-of-the-two-ids")))) == 1


def interrupted(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Something happens to a record just before it is copied."""

    def copy(record: UploadRecord) -> UploadRecord:
        change()
        return UploadRecord.from_buffer_copy(record)

    monkeypatch.setattr(board, "UploadRecord", SimpleNamespace(from_buffer_copy=copy))


def test_a_record_that_is_not_written_to_its_end() -> None:
    begin().record.number = 0
    assert find_progress(ID) is None


def one_free_record() -> None:
    """The next upload gets the record of one with ID, which has just ended."""
    upload = begin()
    for i in range(1, RECORDS):
        begin(f"{ID}-{i}")
    upload.ended("complete", 200)


@pytest.mark.parametrize("next_id", ["another-id-of-another", ID])
def test_a_record_that_is_given_away_while_it_is_copied(
    monkeypatch: pytest.MonkeyPatch, next_id: str
) -> None:
    """What one upload has is never told of another, nor of itself what the last one had."""
    one_free_record()
    interrupted(monkeypatch, lambda: begin(next_id, received=77))
    assert find_progress(ID) is None


def test_a_record_that_is_given_away_before_it_is_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But after its key was found."""
    one_free_record()
    look = Sheet._positions_to_look_at

    def positions(sheet: Sheet, key: bytes) -> list[int]:
        found = list(look(sheet, key))
        begin("another-id-of-another", received=77)
        return found

    monkeypatch.setattr(Sheet, "_positions_to_look_at", positions)
    assert find_progress(ID) is None


def test_an_end_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told is how far it was at the most, not an end with the bytes of before."""
    upload = begin()
    interrupted(monkeypatch, lambda: upload.ended("complete", 200))
    progress = found()
    assert (progress.state, progress.ending) == ("uploading", None)


def test_what_is_asked_often_costs_little(new_board: Board) -> None:
    """Less than a slice of an upload, with four workers that all have as many as are kept."""
    for sheet in new_board._sheets[1:]:
        sheet.began = 1.0
        sheet.records_used = RECORDS
        for position in range(RECORDS):
            sheet.records[position].number = 1
            sheet.keys[position].raw = key_of(secrets.token_hex(16))
    for _ in range(RECORDS - 1):
        begin(secrets.token_hex(16))
    begin()
    took = []
    for _ in range(20):
        began = time.perf_counter()
        assert find_progress(ID) is not None
        took.append(time.perf_counter() - began)
    assert min(took) < 0.0005


# What is answered


def get(application: UploadProgress, query: str = f"X-Progress-ID={ID}", **more: Any) -> Call:
    fields = {"REQUEST_METHOD": "GET", "QUERY_STRING": query, **more}
    return call(application, {**environ(), **fields})


def test_the_format() -> None:
    """That of nginx's module, and three fields of ours."""
    upload = begin(received=25)
    upload.record.rate = 1234.56
    answer = get(UploadProgress())
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert json.loads(answer.body) == {
        "state": "uploading",
        "received": 25,
        "size": 100,
        "status": 0,
        "rate": 1235,
        "ending": None,
    }
    upload.ended("too_large", 413)
    told = json.loads(get(UploadProgress()).body)
    assert (told["state"], told["status"], told["ending"]) == ("error", 413, "too_large")


def test_an_id_that_nobody_uses() -> None:
    """A size of 0 would make scripts for nginx's module stop: it is not known."""
    assert json.loads(get(UploadProgress()).body) == STARTING


def test_the_header() -> None:
    """It goes before the query, as for the upload itself."""
    begin(received=1)
    begin(ID + "-2", received=2)
    application = UploadProgress()
    assert json.loads(get(application, "", HTTP_X_PROGRESS_ID=ID).body)["received"] == 1
    assert json.loads(get(application, HTTP_X_PROGRESS_ID=ID + "-2").body)["received"] == 2


@pytest.mark.parametrize("query", ["", "X-Progress-ID=", "X-Progress-ID=short", "id=" + ID])
@pytest.mark.parametrize("accept", ["*/*", EVENTS])
def test_a_missing_or_bad_id(query: str, accept: str) -> None:
    """Says what ids look like, and does not repeat what it was given."""
    answer = get(UploadProgress(), query, HTTP_ACCEPT=accept)
    assert answer.status == 400
    assert RULE in answer.body.decode()
    assert b"short" not in answer.body
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["Cache-Control"] == "no-store"


def test_head() -> None:
    answer = get(UploadProgress(), REQUEST_METHOD="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(get(UploadProgress()).body)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods(method: str) -> None:
    answer = get(UploadProgress(), REQUEST_METHOD=method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json, text/javascript, */*; q=0.01", "application/json"),  # jQuery
        ("text/html", "application/json"),
        ("text/event-stream", EVENTS),
        ("text/event-stream, */*;q=0.1", EVENTS),
        ("text/event-stream;q=0.5, application/json", "application/json"),
    ],
)
def test_what_is_accepted(accept: str | None, expected: str) -> None:
    more = {} if accept is None else {"HTTP_ACCEPT": accept}
    answer = get(UploadProgress(), **more)
    assert answer.headers["Content-Type"].partition(";")[0] == expected


# Other origins


def test_no_other_origin_by_default() -> None:
    answer = get(UploadProgress(), HTTP_ORIGIN="https://other.example")
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("accept", ["*/*", EVENTS])
@pytest.mark.parametrize("query", ["", f"X-Progress-ID={ID}"])
def test_one_other_origin(accept: str, query: str) -> None:
    """The same one whoever asks, in an answer that says what is wrong too."""
    application = UploadProgress(allow_origin="https://app.example.com")
    for origin in ("https://app.example.com", "https://other.example"):
        answer = get(application, query, HTTP_ACCEPT=accept, HTTP_ORIGIN=origin)
        granted = {k: v for k, v in answer.headers.items() if k.startswith("Access-Control")}
        assert granted == {"Access-Control-Allow-Origin": "https://app.example.com"}


def test_a_browser_that_asks_for_the_header() -> None:
    """It may send that one header, and no cookies."""
    application = UploadProgress(allow_origin="http://localhost:5173")
    answer = get(application, "", REQUEST_METHOD="OPTIONS")
    granted = {k: v for k, v in answer.headers.items() if k.startswith("Access-Control")}
    assert (answer.status, answer.body) == (204, b"")
    assert granted == {
        "Access-Control-Allow-Origin": "http://localhost:5173",
        "Access-Control-Allow-Methods": "GET, HEAD",
        "Access-Control-Allow-Headers": "X-Progress-ID",
    }


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "", "null", "app.example.com", "https://", "https://app.example.com/"),
        *("https://app.example.com/page", "https://*.example.com"),
        *("https://a.example https://b.example", "https://a.example,https://b.example"),
        "https://a.example\r\nSet-Cookie: a=b",
    ],
)
def test_an_origin_that_is_none(origin: str) -> None:
    with pytest.raises(SettingsError, match="allow_origin"):
        UploadProgress(allow_origin=origin)


@pytest.mark.parametrize(
    "arguments",
    [
        {"interval_seconds": 0},
        {"interval_seconds": float("nan")},
        {"wait_seconds": -1},
        {"longest_seconds": float("inf")},
        {"most_streams": -1},
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(arguments))):
        UploadProgress(**arguments)


# Streams of events


def parsed(stream: bytes) -> list[dict[str, str]]:
    """The blocks of a stream by their fields; a comment has the name ""."""
    assert stream.endswith(b"\n\n")
    blocks = stream.decode().removesuffix("\n\n").split("\n\n")
    return [
        {
            name: value.strip()
            for name, _, value in (line.partition(":") for line in each.split("\n"))
        }
        for each in blocks
    ]


def told(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(block["data"]) for block in parsed(stream) if "data" in block]


def stream_of(application: UploadProgress, **more: Any) -> Call:
    return get(application, HTTP_ACCEPT=EVENTS, **more)


FAST: dict[str, Any] = {"interval_seconds": 0.05}


def test_without_a_hub_there_is_one_event() -> None:
    """It must not occupy the thread, or the process, that answers."""
    begin(received=5)
    answer = stream_of(UploadProgress())
    assert parsed(answer.body)[0] == {"retry": "1000"}
    assert [event["received"] for event in told(answer.body)] == [5]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"


def test_without_a_hub_none_is_made() -> None:
    """gevent would make one for whoever sleeps with it."""
    program = f"""if True:
        import gevent.hub
        from wsgi import call, environ
        from cooperative_upload import UploadProgress
        more = {{"QUERY_STRING": "X-Progress-ID={ID}", "REQUEST_METHOD": "GET"}}
        answer = call(UploadProgress(), {{**environ(), **more, "HTTP_ACCEPT": "{EVENTS}"}})
        assert answer.body.count(b"data:") == 1
        assert gevent.hub._get_hub() is None
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, cwd=SUPPORT)


def test_over_http2_there_is_one_event() -> None:
    """gunicorn answers the requests of such a connection one after the other."""
    begin()
    answer = in_greenlet(lambda: stream_of(UploadProgress(), SERVER_PROTOCOL="HTTP/2.0"))
    assert len(told(answer.body)) == 1


def test_events_until_it_is_done() -> None:
    """One for each change, comments in between, and the last one has an id."""
    upload = begin()

    def receive() -> None:
        for received in (10, 60, 100):
            gevent.sleep(0.12)
            upload.record.received = received
        gevent.sleep(0.12)
        upload.ended("complete", 200)

    with running(receive):
        answer = in_greenlet(lambda: stream_of(UploadProgress(**FAST)))
    events = told(answer.body)
    assert [(event["state"], event["received"]) for event in events] == [
        ("uploading", 0),
        ("uploading", 10),
        ("uploading", 60),
        ("uploading", 100),
        ("done", 100),
    ]
    blocks = parsed(answer.body)
    assert {"": ""} in blocks
    assert [block for block in blocks if "id" in block] == [blocks[-1]]
    assert blocks[-1]["id"] == "ended"


@pytest.mark.parametrize("hub", [False, True])
def test_who_has_had_the_last_event_is_told_not_to_come_back(hub: bool) -> None:
    """204 ends an EventSource, which would else ask once a second for as long as it is kept."""
    begin().ended("complete", 200)

    def ask(**more: str) -> Call:
        def stream() -> Call:
            return stream_of(UploadProgress(), **more)

        return in_greenlet(stream) if hub else stream()

    assert [event["state"] for event in told(ask().body)] == ["done"]
    answer = ask(HTTP_LAST_EVENT_ID="ended")
    assert (answer.status, answer.body) == (204, b"")


def test_an_upload_that_begins_while_it_is_waited_for() -> None:
    def upload() -> None:
        gevent.sleep(0.12)
        begin().ended("complete", 200)

    with running(upload):
        answer = in_greenlet(lambda: stream_of(UploadProgress(**FAST)))
    assert [event["state"] for event in told(answer.body)] == ["starting", "done"]


def test_an_id_that_nobody_uses_is_waited_for_a_bounded_time() -> None:
    application = UploadProgress(**FAST, wait_seconds=0.2)
    began = time.monotonic()
    answer = in_greenlet(lambda: stream_of(application))
    assert 0.2 <= time.monotonic() - began < 5
    assert told(answer.body) == [STARTING]


def test_a_stream_ends_after_a_bounded_time() -> None:
    """Also one that always has something to say; it is no end that EventSource would keep to."""
    upload = begin(expected=None)

    def receive() -> None:
        while True:
            gevent.sleep(0.01)
            upload.record.received += 1

    application = UploadProgress(**FAST, longest_seconds=0.3, wait_seconds=0)
    began = time.monotonic()
    with running(receive):
        answer = in_greenlet(lambda: stream_of(application))
    assert 0.3 <= time.monotonic() - began < 5
    assert len(told(answer.body)) > 1
    assert not [block for block in parsed(answer.body) if "id" in block]


def open_stream(application: UploadProgress) -> tuple[Any, Iterator[bytes]]:
    """The response, and an iterator over what it gives, of which one block was taken."""
    fields = {"REQUEST_METHOD": "GET", "QUERY_STRING": f"X-Progress-ID={ID}"}
    response: Any = application(
        {**environ(), **fields, "HTTP_ACCEPT": EVENTS}, lambda status, headers, exc_info=None: None
    )
    blocks = iter(response)
    assert next(blocks) == b"retry: 1000\n\n"
    return response, blocks


def test_so_many_streams_at_once() -> None:
    """One more gets one event; a place that was left is free, however it was left."""
    begin()
    application = UploadProgress(**FAST, most_streams=2, longest_seconds=1000)

    def test() -> None:
        first, first_blocks = open_stream(application)
        second, second_blocks = open_stream(application)
        assert b"data" in next(first_blocks)
        assert b"data" in next(second_blocks)
        assert len(told(stream_of(application).body)) == 1
        first.close()
        third, third_blocks = open_stream(application)
        assert b"data" in next(third_blocks)
        assert next(third_blocks) == b":\n\n"
        assert len(told(stream_of(application).body)) == 1
        for response in (second, third):
            response.close()
        assert application._streams == 0

    in_greenlet(test)


def test_a_stream_that_is_killed_leaves_its_place() -> None:
    """As gunicorn kills what is open when a worker's time is up."""
    begin()
    application = UploadProgress(longest_seconds=1000)
    with running(lambda: stream_of(application)):
        wait_until(lambda: application._streams == 1)
    assert application._streams == 0


def test_a_response_that_is_never_read_takes_no_place() -> None:
    """As of a HEAD request, or of a client that has gone."""
    application = UploadProgress(most_streams=1)
    for _ in range(3):
        fields = {"REQUEST_METHOD": "GET", "QUERY_STRING": f"X-Progress-ID={ID}"}
        response: Any = application(
            {**environ(), **fields, "HTTP_ACCEPT": EVENTS},
            lambda status, headers, exc_info=None: None,
        )
        response.close()
    stream_of(application, REQUEST_METHOD="HEAD")
    assert application._streams == 0


def test_streams_end_with_their_worker(worker_ends: Callable[[], None]) -> None:
    """At their next event, and not for good: another worker goes on."""
    begin()
    application = UploadProgress(**FAST, longest_seconds=1000)

    def end() -> None:
        wait_until(lambda: application._streams == 1)
        worker_ends()

    with running(end):
        answer = in_greenlet(lambda: stream_of(application))
    assert not [block for block in parsed(answer.body) if "id" in block]
