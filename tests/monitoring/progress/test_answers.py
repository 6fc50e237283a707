"""What UploadProgress answers, also to pages of other origins."""

from __future__ import annotations

import json
from typing import Any

import pytest
from progress_of_uploads import EVENTS, ID, STARTING, begin, get

from cooperative_upload import SettingsError, UploadProgress
from cooperative_upload.monitoring.upload_id import RULE

# What is answered


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
