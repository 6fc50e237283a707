"""Signals and the settings about processes do what they do on the stock worker."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from http_client import Connection, Part, content, data_description, form_description
from live_server import COOPERATIVE, Gunicorn, LiveServer, wait_for_other_worker, wait_until
from uploads import EndlessUpload, HalfUpload


def refuses_connections(server: LiveServer) -> bool:
    try:
        Connection(server.connect_socket()).sock.close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # it stopped listening while this one was in its queue: ask once more
    return False


def test_term_lets_an_upload_end(gunicorn: Gunicorn) -> None:
    """Within graceful_timeout it gets its answer; meanwhile nobody else is let in."""
    with LiveServer(gunicorn, "--graceful-timeout", "15") as server:
        with HalfUpload(server) as upload:
            server.wait_for_spool()
            server.signal(signal.SIGTERM)
            wait_until(lambda: refuses_connections(server), "the server to stop listening")
            assert upload.finish().json() == form_description(upload.part)
        assert server.wait() == 0
        server.check_nothing_left()
        assert not server.own_tracebacks()


def test_term_cuts_an_upload_that_goes_on_too_long(gunicorn: Gunicorn) -> None:
    """Before gunicorn kills the worker, both get a 503; then the processes end."""
    with LiveServer(gunicorn, "--graceful-timeout", "2") as server:
        with HalfUpload(server) as stalled, EndlessUpload(server, "/sizes", as_form=True) as fast:
            server.wait_for_spool()
            fast.wait_for(1_000_000)
            server.signal(signal.SIGTERM)
            assert stalled.connection.response().status == 503
            assert fast.connection.response().status == 503
            assert server.wait() == 0
        server.check_nothing_left()
        assert not server.own_tracebacks()


def test_quit_ends_at_once(newest: Gunicorn) -> None:
    """In the middle of uploads too."""
    with LiveServer(newest, "--graceful-timeout", "60") as server:
        with HalfUpload(server) as stalled, EndlessUpload(server, "/swallow") as fast:
            server.wait_for_spool()
            fast.wait_for(1_000_000)
            server.signal(signal.SIGQUIT)
            assert server.wait() == 0
            assert stalled.connection.response_or_none() is None
        server.check_nothing_left()


def test_hup_finishes_uploads_on_the_old_worker(newest: Gunicorn) -> None:
    """New requests go to a new worker, and the old one ends behind its upload."""
    with LiveServer(newest, "--graceful-timeout", "15") as server:
        (old,) = server.workers()
        with HalfUpload(server) as upload:
            server.wait_for_spool()
            server.signal(signal.SIGHUP)
            new = wait_for_other_worker(server, old)
            assert upload.finish().json() == form_description(upload.part)
        wait_until(lambda: server.workers() == [new], "the old worker's end")
        assert not server.own_tracebacks()


def test_usr1_reopens_the_logs(newest: Gunicorn) -> None:
    """During an upload, which goes on."""
    options = ("--error-logfile", "error.log", "--access-logfile", "access.log")
    with LiveServer(newest, *options, ready=lambda server: server.directory) as server:
        log = server.directory / "error.log"
        access = server.directory / "access.log"
        wait_until(lambda: log.exists() and "Booting worker" in log.read_text(), "a worker")
        port = log.read_text().split("127.0.0.1:")[1].split()[0]
        server.__dict__["port"] = int(port)
        with HalfUpload(server) as upload:
            server.wait_for_spool()
            for path in (log, access):
                path.rename(path.with_suffix(".old"))
            server.signal(signal.SIGUSR1)
            wait_until(lambda: log.exists() and access.exists(), "new log files")
            with server.connect() as connection:
                connection.ping()
            wait_until(lambda: "/ping" in access.read_text(), "the worker to use the new file")
            assert upload.finish().json() == form_description(upload.part)


def test_usr2_starts_a_new_master(newest: Gunicorn) -> None:
    """Uploads of the old one end while the new one answers already."""
    with LiveServer(newest, "--graceful-timeout", "15") as server:
        (old,) = server.workers()
        with HalfUpload(server) as upload:
            server.wait_for_spool()
            server.signal(signal.SIGUSR2)
            (master,) = wait_until(
                lambda: [pid for pid in server.workers() if pid != old], "a new master"
            ) or [0]
            server.wait_for_log(f"[{master}] [INFO] Listening at")
            server.signal(signal.SIGTERM)
            new = wait_for_other_worker(server, old)
            assert upload.finish().json() == form_description(upload.part)
        assert server.wait() == 0
        assert server.answering_worker() == new
        os.kill(master, signal.SIGTERM)
        server.check_nothing_left()
        assert not server.own_tracebacks()


def test_max_requests_count_uploads(newest: Gunicorn) -> None:
    """The worker that has had enough answers its last request, and the next one takes over."""
    part = Part("file", content(1_000_000), "f.bin")
    with LiveServer(newest, "--max-requests", "5") as server:
        (old,) = server.workers()
        for _ in range(5):
            with server.connect() as connection:
                assert connection.post_form("/form", part).json() == form_description(part)
        wait_for_other_worker(server, old)
        assert "Autorestarting worker" in server.log()
        assert not server.own_tracebacks()


@pytest.mark.parametrize("options", [("--workers", "2"), ("--preload", "--workers", "2")])
def test_several_workers_and_preload(newest: Gunicorn, options: tuple[str, ...]) -> None:
    """Uploads to all workers arrive whole beside one that never ends."""
    part = Part("file", content(2_000_000), "f.bin")
    with LiveServer(newest, *options) as server:
        with EndlessUpload(server, "/sizes", as_form=True) as endless:
            for _ in range(10):
                with server.connect() as connection:
                    assert connection.post_form("/form", part).json() == form_description(part)
                    response = connection.post("/data", part.content)
                    assert response.json() == data_description(part.content)
                    connection.ping()
            response = endless.finish()
            assert response.json() == [endless.sent]
        assert not server.own_tracebacks()


def test_reload(newest: Gunicorn, tmp_path: Path) -> None:
    """A change of the application's file brings a new worker, behind the old one's uploads."""
    module = tmp_path / "reloaded.py"
    module.write_text("from applications import application\n")
    options = ("--reload", "--reload-engine", "poll", "--pythonpath", str(tmp_path))
    patience = ("--graceful-timeout", "15")
    with LiveServer(newest, *options, *patience, application="reloaded:application") as server:
        (old,) = server.workers()
        with HalfUpload(server) as upload:
            server.wait_for_spool()
            later = module.stat().st_mtime + 10
            os.utime(module, (later, later))
            server.wait_for_log("Worker reloading")
            assert upload.finish().json() == form_description(upload.part)
        wait_for_other_worker(server, old)


def test_killed_worker_leaves_no_file(gunicorn: Gunicorn) -> None:
    """Spools have no name, so the system frees them; the master starts a new worker."""
    with LiveServer(gunicorn) as server:
        (old,) = server.workers()
        with HalfUpload(server) as upload, EndlessUpload(server, "/sizes", as_form=True) as fast:
            server.wait_for_spool()
            fast.wait_for(1_000_000)
            os.kill(old, signal.SIGKILL)
            wait_for_other_worker(server, old)
            assert upload.connection.response_or_none() is None
            assert fast.connection.response_or_none() is None
        assert server.spooled_names() == []
        part = Part("file", content(2_000_000), "f.bin")
        with server.connect() as connection:
            assert connection.post_form("/form", part).json() == form_description(part)


def test_idle_worker_ends_as_fast_as_the_stock_one(newest: Gunicorn) -> None:
    """Writer threads and watchers keep no process alive."""
    part = Part("file", content(2_000_000), "f.bin")
    with LiveServer(newest, worker=COOPERATIVE) as server:
        with server.connect() as connection:
            assert connection.post_form("/form", part).json() == form_description(part)
        server.signal(signal.SIGTERM)
        assert server.wait(5) == 0
