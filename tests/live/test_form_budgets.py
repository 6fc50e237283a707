"""A form with very many files beside other clients: what it holds of a worker."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

import pytest
from http_client import FORM_TYPE, Part, content, form, head
from live_server import Gunicorn, LiveServer, peak_memory, wait_until

PARTS = 200
DESCRIPTORS = 100
CLIENTS = 30


@contextlib.contextmanager
def form_in_the_middle(server: LiveServer, size: int) -> Iterator[None]:
    """All of its files have come, so all are held; the end of the form has not."""
    body = form(*(Part(f"f{number}", content(size), f"{number}.bin") for number in range(PARTS)))
    headers = {"Content-Type": FORM_TYPE, "Content-Length": str(len(body))}
    with server.connect() as connection:
        connection.send(head("POST", "/sizes", headers) + body[:-10])
        yield
        connection.send(body[-10:])
        assert connection.response().json() == [size] * PARTS


@pytest.fixture
def small_server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """One that may have half as many descriptors as a form of the test has files."""
    limit = {"COOPERATIVE_UPLOAD_SPOOL_WORKER_FILES": str(DESCRIPTORS // 2)}
    with LiveServer(gunicorn, environment=limit) as server:
        (worker,) = server.workers()
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        yield server
        assert "Traceback" not in server.log()


def test_new_clients_are_let_in_beside_a_form_with_many_files(small_server: LiveServer) -> None:
    """Each file is too large for memory."""
    (worker,) = small_server.workers()
    with form_in_the_middle(small_server, 520_000), contextlib.ExitStack() as others:
        # Sixteen of their own, and one that the others share.
        wait_until(
            lambda: len(small_server.spooled_descriptors(worker)) == 17, "the shared file is open"
        )
        for _ in range(CLIENTS):
            others.enter_context(small_server.connect()).ping()
    wait_until(lambda: not small_server.spooled_descriptors(worker), "the files are closed")


def test_memory_does_not_grow_with_the_files_of_a_form(gunicorn: Gunicorn) -> None:
    """Each file is small enough for memory: 500 KB, of which 8 MiB in all may be there."""
    with LiveServer(gunicorn) as server:
        (worker,) = server.workers()
        with server.connect() as connection:
            connection.post_form("/sizes", Part("file", content(500_000), "f.bin"))
        before = peak_memory(worker)
        with form_in_the_middle(server, 500_000):
            wait_until(lambda: len(server.spooled_descriptors(worker)) == 17, "most are on disk")
        assert peak_memory(worker) - before < 30_000_000 < 500_000 * PARTS
