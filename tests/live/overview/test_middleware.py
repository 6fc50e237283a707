"""What overview() tells where the middleware runs on the workers of others."""

from __future__ import annotations

import os
import signal

import pytest
from http_client import data_description, head
from live_server import STOCK, Gunicorn, LiveServer, wait_for_other_worker, wait_until
from overview_states import HELD_UP, check_upload
from overviews import (
    BODY,
    SIZE,
    Begin,
    WithLength,
    connect_to,
    told,
    told_by,
    wait_for_state,
    wait_for_uploads,
)

SHARING = ("--config", "python:sharing_statistics")


@pytest.fixture(params=[STOCK, "gevent_pywsgi"])
def worker_class(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("shared", [True, False])
def test_middleware(gunicorn: Gunicorn, worker_class: str, shared: bool) -> None:
    """With the memory made before the fork all workers tell of all, else each of itself."""
    options = ("--workers", "2", *(SHARING if shared else ()))
    with LiveServer(
        gunicorn, *options, application="overview_application:wrapped()", worker=worker_class
    ) as server:
        one, other = wait_until(
            lambda: server.workers() if len(server.workers()) == 2 else None, "both workers"
        ) or [0, 0]
        with connect_to(server, one) as first, connect_to(server, other) as second:
            for connection in (first, second):
                connection.send(head("POST", "/stream", {"Content-Length": str(SIZE)}))
                connection.send(BODY[: SIZE // 2])
            for worker in (one, other):
                with connect_to(server, worker) as asking:
                    told_of = sorted([one, other]) if shared else [worker]
                    wait_until(
                        lambda asking=asking, told_of=told_of: (
                            told_of  # type: ignore[misc]
                            == sorted(each["worker"] for each in told_by(asking)["uploads"])
                        ),
                        "the halves are told",
                    )
                    now = told_by(asking)
                    assert sorted(each["pid"] for each in now["workers"]) == told_of
                    assert {each["expected"] for each in now["uploads"]} == {SIZE}
            second.sock.close()
            first.send(BODY[SIZE // 2 :])
            assert first.response().json() == data_description(BODY)
        with connect_to(server, one) as asking:
            expected = {"complete": 1, "incomplete": int(shared), "uploads": 0}
            wait_until(
                lambda: told_by(asking)["numbers"].items() >= expected.items(), "the endings"
            )
            assert told_by(asking)["uploads"] == []
        server.wait_for_log("Upload incomplete: POST /stream from 127.0.0.1, ")
        assert "complete: POST /stream from 127.0.0.1, 200,000" not in server.log()
        assert server.log().count("[INFO] cooperative_upload: Upload ") == 1


def test_middleware_behind_a_worker_that_was_killed(newest: Gunicorn, worker_class: str) -> None:
    """Its numbers stay, and its upload is a killed one."""
    with LiveServer(
        newest, *SHARING, application="overview_application:wrapped()", worker=worker_class
    ) as server:
        (old,) = server.workers()
        with server.connect() as connection:
            assert connection.post("/data", BODY).status == 200
        with server.connect() as connection:
            connection.send(head("POST", "/stream", {"Content-Length": str(SIZE)}) + BODY[:9])
            wait_for_uploads(server, 1)
            os.kill(old, signal.SIGKILL)
            new = wait_for_other_worker(server, old)
        now = told(server)
        assert (now["uploads"], [each["pid"] for each in now["workers"]]) == ([], [new])
        assert (now["numbers"]["complete"], now["numbers"]["killed"]) == (1, 1)


@pytest.mark.parametrize("state", ["reading", "waiting for the client", "answering", "writing"])
def test_states_with_the_middleware(newest: Gunicorn, worker_class: str, state: str) -> None:
    """It tells them in the same way."""
    with (
        LiveServer(
            newest, application="overview_application:wrapped()", worker=worker_class
        ) as server,
        server.connect() as connection,
    ):
        begin: Begin = lambda path, headers: WithLength(connection, path, headers)  # noqa: E731
        with HELD_UP[state](server, begin) as held:
            upload = wait_for_state(server, state, held.path)
            check_upload(upload, server, SIZE)
        assert held.response is not None
        assert held.response.status == 200
        wait_for_uploads(server, 0)
