"""What Prometheus scrapes from real servers: the same from every worker, and nothing forgotten."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkout import MONITORING_PAGE
from http_client import content, data_description, head
from live_server import STOCK, Gunicorn, LiveServer, wait_until
from prometheus_client.parser import text_string_to_metric_families
from uploads import HalfUpload

from cooperative_upload.monitoring.board import ENDINGS

WORKERS = 3
BODY = content(100_000)
MOST = 5_000_000
LIMITS = {"COOPERATIVE_UPLOAD_MAX_BODY_BYTES": str(MOST)}
PAGE = MONITORING_PAGE.read_text()

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

# What depends on the machine, or on how often was scraped.
PASSING = re.compile("cooperative_upload_(loop_|turn|deadline_turns|arrival_seconds_(bucket|sum))")


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(server: LiveServer) -> tuple[int, Samples]:
    """The worker that answered, and what it said."""
    with server.connect() as connection:
        connection.send_request("GET", "/metrics", headers={"Connection": "close"})
        response = connection.response()
    assert response.status == 200
    return int(response.headers.get("x-worker", 0)), samples(response.body.decode())


def scrape_every_worker(server: LiveServer) -> dict[int, Samples]:
    """By worker. The kernel decides who answers, so this asks until each has."""
    scraped: dict[int, Samples] = {}

    def all_answered() -> bool:
        worker, found = scrape(server)
        scraped[worker] = found
        return set(server.workers()) <= scraped.keys()

    wait_until(all_answered, "an answer from each worker")
    return scraped


def wait_for_workers(server: LiveServer) -> None:
    """Return when all of them count."""

    def all_count() -> bool:
        return value(scrape(server)[1], "cooperative_upload_workers") == WORKERS

    wait_until(all_count, "the workers")


def bodies(scraped: Samples) -> dict[str, int]:
    """How bodies ended, without those endings that none had."""
    by_ending = {ending: int(bodies_that(scraped, ending)) for ending in ENDINGS}
    return {ending: number for ending, number in by_ending.items() if number}


def bodies_that(scraped: Samples, ending: str) -> float:
    return scraped["cooperative_upload_bodies_total", (("ending", ending),)]


def value(scraped: Samples, name: str) -> float:
    return scraped[name, ()]


def upload(server: LiveServer, path: str = "/data") -> None:
    with server.connect() as connection:
        assert connection.post(path, BODY).json() == data_description(BODY)


def upload_too_much(server: LiveServer) -> None:
    with server.connect() as connection:
        connection.send(head("POST", "/data", {"Content-Length": str(MOST + 1)}))
        assert connection.response().status == 413


def break_off(server: LiveServer, after: int) -> None:
    with server.connect() as connection:
        connection.send(head("POST", "/data", {"Content-Length": str(len(BODY))}) + BODY[:after])
        connection.end_sending()
        assert connection.response().status == 400


def upload_in_known_ways(server: LiveServer) -> dict[str, int]:
    """Five that are complete, two that are too large, one that is cut off; how they ended."""
    for _ in range(5):
        upload(server)
    for _ in range(2):
        upload_too_much(server)
    break_off(server, after=5000)
    return {"complete": 5, "too_large": 2, "incomplete": 1}


def check_every_worker(server: LiveServer, endings: dict[str, int]) -> None:
    """Each of them says exactly what there was, of what came in known ways."""
    wait_until(lambda: bodies(scrape(server)[1]) == endings, f"{endings} are scraped")
    scraped = list(scrape_every_worker(server).values())
    assert len(scraped) == WORKERS
    for found in scraped:
        assert bodies(found) == endings
        assert value(found, "cooperative_upload_received_bytes_total") == 5 * len(BODY) + 5000
        assert value(found, "cooperative_upload_uploads_in_progress") == 0
        assert value(found, "cooperative_upload_in_progress_bytes") == 0
        assert value(found, "cooperative_upload_arrival_seconds_count") == 8
        assert value(found, "cooperative_upload_turn_wait_seconds_count") == 8
    same = [
        {key: number for key, number in found.items() if not PASSING.match(key[0])}
        for found in scraped
    ]
    assert same[0] == same[1] == same[2]


@pytest.fixture
def three_workers(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    options = ("--workers", str(WORKERS))
    application = "metrics_application:application"
    with LiveServer(gunicorn, *options, application=application, environment=LIMITS) as server:
        wait_for_workers(server)
        yield server
        assert "Traceback" not in server.log()


def test_every_worker_tells_all(three_workers: LiveServer) -> None:
    """Exactly what there was, whichever is scraped."""
    endings = upload_in_known_ways(three_workers)
    check_every_worker(three_workers, endings)
    for found in scrape_every_worker(three_workers).values():
        assert value(found, "cooperative_upload_workers") == WORKERS
        assert value(found, "cooperative_upload_turns_total") >= 5
        assert value(found, "cooperative_upload_loop_lag_seconds_count") > 0
        assert value(found, "cooperative_upload_loop_silent_seconds") < 5


def never_smaller(key: str) -> bool:
    return key.endswith(("_total", "_count", "_bucket", "_sum"))


def test_worker_that_is_killed_in_the_middle_of_an_upload(three_workers: LiveServer) -> None:
    """What it had counted stays, what it was doing is counted, and its successor goes on."""
    server = three_workers
    for _ in range(6):
        upload(server)
    with HalfUpload(server):
        holders = wait_until(
            lambda: [pid for pid in server.workers() if server.spooled_descriptors(pid)],
            "a spool on disk",
        )
        before = wait_until(
            lambda: next(
                (found for _, found in [scrape(server)] if bodies(found) == {"complete": 6}), None
            ),
            "six uploads are scraped",
        )
        so_far = value(before, "cooperative_upload_in_progress_bytes")
        assert value(before, "cooperative_upload_uploads_in_progress") == 1
        assert so_far > 0
        os.kill(holders[0], signal.SIGKILL)
        last = before

        def buried() -> bool:
            """Looks all the time: no counter goes down in between either."""
            nonlocal last
            _, found = scrape(server)
            fallen = [
                key
                for key, number in last.items()
                if never_smaller(key[0]) and found[key] < number
            ]
            assert not fallen
            last = found
            return bodies_that(found, "killed") > 0

        wait_until(buried, "the upload of the killed worker to be counted")
    wait_until(lambda: holders[0] not in server.workers(), "the end of the worker")
    wait_for_workers(server)
    upload(server)
    endings = {"complete": 7, "killed": 1}
    wait_until(lambda: bodies(scrape(server)[1]) == endings, f"{endings} are scraped")
    for found in scrape_every_worker(server).values():
        assert bodies(found) == endings
        received = value(found, "cooperative_upload_received_bytes_total")
        assert received >= 7 * len(BODY) + so_far
        assert value(found, "cooperative_upload_uploads_in_progress") == 0
        assert value(found, "cooperative_upload_workers") == WORKERS


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "each for itself"])
def test_middleware_on_the_stock_worker(gunicorn: Gunicorn, shared: bool) -> None:
    """All tell all once the configuration has shared the memory, and each its own without."""
    server = LiveServer(
        gunicorn,
        *("--workers", str(WORKERS), "--config", "gunicorn.conf.py"),
        application="metrics_application:wrapped()",
        worker=STOCK,
        environment=LIMITS,
    )
    (configuration,) = [
        each for each in examples("Without our worker") if "share_statistics" in each
    ]
    (server.directory / "gunicorn.conf.py").write_text(configuration if shared else "")
    with server:
        wait_until(lambda: len(server.workers()) == WORKERS, "the workers")
        if shared:
            wait_for_workers(server)  # each is seen from its first request on
        endings = upload_in_known_ways(server)
        if shared:
            check_every_worker(server, endings)
        else:
            scraped = list(scrape_every_worker(server).values())
            assert sum(sum(bodies(found).values()) for found in scraped) == 8
            assert [value(found, "cooperative_upload_workers") for found in scraped] == [1, 1, 1]


# The examples of docs/monitoring.md


def examples(section: str) -> list[str]:
    """The Python code of one section."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def documented_server(
    gunicorn: Gunicorn,
    example: str,
    environment: dict[str, str] | None = None,
    written_by_workers: Callable[[], bool] = lambda: True,
) -> LiveServer:
    def ready(server: LiveServer) -> None:
        wait_until(lambda: "Booting worker" in server.log(), "a worker")
        wait_until(written_by_workers, "what the workers write when they start")
        wait_for_workers(server)

    server = LiveServer(
        gunicorn,
        *("--workers", str(WORKERS)),
        *("--access-logfile", "-", "--access-logformat", "%(m)s by %(p)s"),
        application="app:app",
        environment=environment,
        ready=ready,
    )
    (server.directory / "app.py").write_text(example)
    return server


def upload_to_example(server: LiveServer) -> None:
    with server.connect() as connection:
        assert connection.post("/upload", BODY).json() == {"bytes": len(BODY)}


def test_documented_application_with_the_default_registry(gunicorn: Gunicorn) -> None:
    """Its own metrics are there too."""
    with documented_server(gunicorn, examples("Prometheus")[0]) as server:
        for _ in range(4):
            upload_to_example(server)
        wait_until(lambda: bodies(scrape(server)[1]) == {"complete": 4}, "four uploads")
        for _ in range(4 * WORKERS):
            _, found = scrape(server)
            assert bodies(found) == {"complete": 4}
            assert value(found, "process_cpu_seconds_total") >= 0  # of the default registry


def test_documented_application_in_multiprocess_mode(gunicorn: Gunicorn, tmp_path: Path) -> None:
    """A counter of the application's own, whose workers write files, is in the same scrape."""

    def all_files_are_there() -> bool:
        """prometheus_client fails where it reads one that another process has just opened."""
        return [path.stat().st_size > 0 for path in tmp_path.iterdir()] == [True] * WORKERS

    example = examples("Prometheus")[1]
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with documented_server(gunicorn, example, environment, all_files_are_there) as server:
        uploads = 0

        def some_workers_have_accepted() -> bool:
            nonlocal uploads
            upload_to_example(server)
            uploads += 1
            return len(set(re.findall(r"POST by <(\d+)>", server.log()))) > 1

        wait_until(some_workers_have_accepted, "uploads to more than one worker")
        endings = {"complete": uploads}
        wait_until(lambda: bodies(scrape(server)[1]) == endings, "all uploads")
        for _ in range(4 * WORKERS):
            _, found = scrape(server)
            assert bodies(found) == endings
            assert value(found, "app_accepted_total") == uploads
            assert value(found, "cooperative_upload_workers") == WORKERS
