"""What an upload takes is given back: descriptors, files and memory. And what saving does."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from http_client import FORM_TYPE, Part, content, form, head, sha256
from live_server import Gunicorn, LiveServer, peak_memory, wait_until
from uploads import EndlessUpload, HalfUpload

MIB = 1 << 20


def post_large_form(server: LiveServer, path: str) -> int:
    """The status of the answer to a form with two files on disk."""
    parts = [Part(name, content(2_000_000), f"{name}.bin") for name in ("one", "two")]
    with server.connect() as connection:
        return connection.post_form(path, *parts).status


# The `server` fixture waits, after each test, until the worker has as many descriptors as before
# and nothing in the spool directory. No garbage collection is asked for.
@pytest.mark.parametrize("path", ["/form", "/sizes", "/files"])
def test_spools_are_freed_behind_a_request(any_server: LiveServer, path: str) -> None:
    """Also where the application has not looked at the files."""
    for _ in range(5):
        assert post_large_form(any_server, path) == 200


def test_spools_are_freed_when_the_body_is_incomplete(any_server: LiveServer) -> None:
    """In the middle of a part on disk, with an answer and without a reader for it."""
    body = form(Part("file", content(2_000_000), "f.bin"))
    headers = {"Content-Type": FORM_TYPE, "Content-Length": str(len(body))}
    for ending in ("half-close", "close", "reset"):
        with any_server.connect() as connection:
            connection.send(head("POST", "/form", headers) + body[:1_500_000])
            any_server.wait_for_spool()
            if ending == "half-close":
                connection.end_sending()
                assert connection.response().status == 400
            elif ending == "reset":
                connection.reset()


def test_spools_are_freed_when_the_form_is_refused_halfway(any_server: LiveServer) -> None:
    """The first part is on disk when werkzeug refuses the second: too many parts."""
    assert post_large_form(any_server, "/one-part") == 413


def test_spools_are_freed_when_the_view_raises(newest: Gunicorn) -> None:
    """The traceback holds the request and its files until the next garbage collection."""
    with LiveServer(newest) as server:
        (worker,) = server.workers()
        assert post_large_form(server, "/form") == 200
        for _ in range(5):
            assert post_large_form(server, "/raise") == 500
        # The answer is sent before the request ends, so a little may remain for a moment.
        wait_until(lambda: not server.spooled_descriptors(worker), "the spools are closed")
        assert "RuntimeError: after 2 files" in server.log()


def test_spool_has_no_name(server: LiveServer) -> None:
    """While it is being written to, the directory is empty, so nothing can be left in it."""
    with HalfUpload(server) as upload:
        server.wait_for_spool()
        assert server.spooled_names() == []
        upload.finish().json()


@pytest.mark.parametrize("as_form", [True, False])
def test_memory_does_not_grow_with_the_upload(gunicorn: Gunicorn, as_form: bool) -> None:
    """The peak of an upload of 300 MB is that of one of 30 MB."""
    path = "/sizes" if as_form else "/swallow"
    with LiveServer(gunicorn) as server:
        (worker,) = server.workers()
        peaks = []
        for size in (30_000_000, 300_000_000):
            with EndlessUpload(server, path, as_form=as_form) as upload:
                upload.wait_for(size)
                response = upload.finish()
            assert response.status == (200 if as_form else 400)
            peaks.append(peak_memory(worker))
        assert peaks[1] - peaks[0] <= 12 * MIB


def test_threads_do_not_add_up(server: LiveServer) -> None:
    """One writer for all uploads of the worker."""
    (worker,) = server.workers()
    post_large_form(server, "/form")
    before = psutil.Process(worker).num_threads()
    for _ in range(10):
        post_large_form(server, "/form")
    assert psutil.Process(worker).num_threads() <= before


@pytest.fixture(params=["same file system", "other file system"])
def destination(
    request: pytest.FixtureRequest, server: LiveServer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A directory to save to."""
    if request.param == "same file system":
        return server.directory
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == server.directory.stat().st_dev:
        pytest.skip("there is no other file system to write to")
    return memory


@pytest.mark.parametrize("size", [0, 1000, 600_000, 5_000_000])
def test_saved_file_is_whole(server: LiveServer, destination: Path, size: int) -> None:
    """FileStorage.save: the content, and the mode that open() would have given."""
    part = Part("file", content(size), "f.bin")
    path = destination / f"saved-{server.pid}-{size}.bin"
    sibling = path.with_suffix(".made")
    try:
        for _ in range(2):  # the second time it replaces the file
            with server.connect() as connection:
                assert connection.post_form(f"/save?to={quote(str(path))}", part).status == 200
            assert sha256(path.read_bytes()) == sha256(part.content)
        with server.connect() as connection:
            connection.post(f"/make?to={quote(str(sibling))}", b"")
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(sibling.stat().st_mode)
    finally:
        path.unlink(missing_ok=True)
        sibling.unlink(missing_ok=True)


def test_saved_file_keeps_the_mode_of_the_one_it_replaces(
    server: LiveServer, destination: Path
) -> None:
    """As writing into the existing file would."""
    path = destination / f"private-{server.pid}.bin"
    path.touch(0o600)
    path.chmod(0o640)
    try:
        part = Part("file", content(900_000), "f.bin")
        with server.connect() as connection:
            assert connection.post_form(f"/save?to={quote(str(path))}", part).status == 200
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert path.stat().st_size == 900_000
    finally:
        path.unlink()
