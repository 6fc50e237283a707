"""Streams of events: what they tell, when they end, how many there are."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from checkout import SUPPORT
from greenlets import in_greenlet, running, wait_until
from progress_of_uploads import EVENTS, ID, STARTING, begin, get
from wsgi import Call, environ

from cooperative_upload import UploadProgress


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
