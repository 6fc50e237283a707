"""Storage that is full, broken, away or slow: the right status, for that upload alone."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import other_clients
import pytest
from counters import counted
from disk import small_file_system
from http_client import (
    DEADLINE,
    FORM_TYPE,
    Part,
    Response,
    chunked,
    content,
    form,
    form_description,
    head,
    pieces_of,
    request,
)
from live_server import (
    COOPERATIVE,
    Certificate,
    Gunicorn,
    LiveServer,
    descriptors,
    environment_with,
    wait_until,
)
from other_clients import Upload
from uploads import HalfUpload

APPLICATION = "ending_application:application"
MIB = 1 << 20
ROOM = 4 * MIB
SOON = 2.0  # seconds within which what an upload held is given back

TOO_MUCH = Part("file", content(2 * ROOM), "f.bin")
FITTING = Part("file", content(ROOM // 2), "f.bin")

NO_SPACE = (507, "there is no space left for it")
TOO_LARGE = (413, "larger than any file that the server may write")
NO_DESCRIPTORS = (503, "it has no descriptor or memory left")
BROKEN = (500, "its storage does not work")


def check_not_stored(response: Response, expected: tuple[int, str]) -> None:
    """Status and sentence; the paths of the server are nothing to the client."""
    status, sentence = expected
    text = response.body.decode()
    assert (response.status, sentence in text) == (status, True), text
    assert "Errno" not in text


def check_stored(server: LiveServer, part: Part = FITTING) -> None:
    with server.connect() as connection:
        assert connection.post_form("/form", part).json() == form_description(part)


def post_form(server: LiveServer, path: str, part: Part) -> Response:
    with server.connect() as connection:
        return connection.post_form(path, part)


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    with small_file_system(ROOM) as path:
        yield path


@pytest.fixture(scope="module")
def full_server(gunicorn: Gunicorn, small_disk: Path) -> Iterator[LiveServer]:
    """One whose spools have little room."""
    environment = {
        "COOPERATIVE_UPLOAD_SPOOL_DIRECTORY": str(small_disk),
        "WITHOUT_GARBAGE_COLLECTION": "1",
    }
    with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def server(gunicorn: Gunicorn) -> Iterator[LiveServer]:
    """One for faults that end with their test."""
    with LiveServer(gunicorn, application=APPLICATION) as server:
        yield server
        assert "Traceback" not in server.log()


def used(path: Path) -> int:
    """Bytes that files take in a file system, also nameless ones."""
    state = os.statvfs(path)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def open_files(pid: int, directory: Path) -> list[str]:
    """What a process has open in a directory."""
    return [path for path in descriptors(pid) if path.startswith(f"{directory}/")]


def wait_for_room(path: Path) -> None:
    wait_until(lambda: used(path) == 0, "all room is given back", SOON)


# Full


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_full_disk_is_a_507(full_server: LiveServer, small_disk: Path, framing: str) -> None:
    """The room is given back at once, and the next upload gets it."""
    with counted(full_server, not_stored=1), full_server.connect() as connection:
        headers = {"Content-Type": FORM_TYPE}
        if framing == "chunked":
            body = chunked(pieces_of(form(TOO_MUCH), 100_000))
            connection.send(head("POST", "/form", {**headers, "Transfer-Encoding": framing}))
            with contextlib.suppress(ConnectionError):
                connection.send(body)
        else:
            connection.send(request("POST", "/form", form(TOO_MUCH), headers))
        check_not_stored(connection.response(), NO_SPACE)
        wait_for_room(small_disk)
        assert connection.is_closed()
    check_stored(full_server)
    line = r"\[ERROR\] Upload not stored: POST /form from 127.0.0.1, .* No space left on device"
    assert re.search(line, full_server.log())


def test_upload_beside_one_that_fills_the_disk(full_server: LiveServer, small_disk: Path) -> None:
    """It goes on when the room is back."""
    with HalfUpload(full_server) as upload:
        full_server_worker = full_server.workers()[0]
        wait_until(lambda: used(small_disk) > MIB, "a spool on disk")
        check_not_stored(post_form(full_server, "/form", TOO_MUCH), NO_SPACE)
        wait_until(lambda: used(small_disk) <= 2 * MIB, "the room is given back", SOON)
        assert upload.finish().json() == form_description(upload.part)
    assert full_server.workers() == [full_server_worker]
    wait_for_room(small_disk)


def test_client_that_sends_all_gets_the_507(
    full_server: LiveServer, small_disk: Path, certificate: Certificate
) -> None:
    """Although nobody reads the rest."""
    body = form(Part("file", content(5 * ROOM), "f.bin"))
    upload = Upload(full_server, certificate, "/form", body, FORM_TYPE)
    for client in (other_clients.standard_library, other_clients.curl_in_chunks):
        answer = client(upload)
        assert answer.status == 507
        assert NO_SPACE[1] in answer.text
        wait_for_room(small_disk)


def test_full_disk_of_a_saved_file(server: LiveServer, small_disk: Path) -> None:
    """The spool had room, and the place that the application saves to has none. What was written
    is the application's, as with werkzeug."""
    target = small_disk / "saved.bin"
    with counted(server, not_stored=1):
        response = post_form(server, f"/save?to={quote(str(target))}", TOO_MUCH)
        check_not_stored(response, NO_SPACE)
    assert TOO_MUCH.content.startswith(target.read_bytes())
    target.unlink()
    wait_for_room(small_disk)
    response = post_form(server, f"/save?to={quote(str(target))}", FITTING)
    assert response.body == b"saved"
    assert target.read_bytes() == FITTING.content
    target.unlink()


# Broken


def mount(path: Path, options: str) -> None:
    command = ["mount", "-o", f"remount,{options}", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def test_read_only_file_system_is_a_500(full_server: LiveServer, small_disk: Path) -> None:
    """As after a fault of the medium; small forms need no disk."""
    small = Part("file", content(1000), "f.bin")
    mount(small_disk, "ro")
    try:
        with counted(full_server, not_stored=1):
            check_not_stored(post_form(full_server, "/form", FITTING), BROKEN)
        check_stored(full_server, small)
    finally:
        mount(small_disk, "rw")
    check_stored(full_server)


def test_spool_directory_that_vanishes_is_a_500(gunicorn: Gunicorn, tmp_path: Path) -> None:
    """Until it is there again."""
    directory = tmp_path / "spools"
    directory.mkdir()
    environment = {"COOPERATIVE_UPLOAD_SPOOL_DIRECTORY": str(directory)}
    with LiveServer(gunicorn, application=APPLICATION, environment=environment) as server:
        with HalfUpload(server) as upload:
            (worker,) = server.workers()
            wait_until(lambda: open_files(worker, directory), "a spool on disk")
            shutil.rmtree(directory)
            with counted(server, not_stored=1):
                check_not_stored(post_form(server, "/form", FITTING), BROKEN)
            assert upload.finish().json() == form_description(upload.part)
        directory.mkdir()
        check_stored(server)
        assert "Traceback" not in server.log()


# Targets of the application's choice

TARGETS = {
    "missing": "missing/directory/file",
    "below a file": "file/below",
    "a directory": "directory",
    "a slash at the end": "new/",
    "a link to itself": "loop",
    "a name that is too long": "x" * 256,
    "a link to nowhere": "nowhere",
}


@pytest.mark.parametrize("name", TARGETS.values(), ids=TARGETS)
def test_target_that_cannot_be_is_no_fault_of_the_storage(
    server: LiveServer, tmp_path: Path, name: str
) -> None:
    """An exception in the view, before the client is asked for the body; nobody is woken."""
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("missing/file")
    log = server.log()
    path = f"/receive?to={quote(f'{tmp_path}/{name}')}"
    headers = {"Content-Length": str(4 * MIB), "Expect": "100-continue"}
    with counted(server, not_stored=0, bytes=0, unread=1), server.connect() as connection:
        connection.send(head("POST", path, headers))
        response = connection.response()
        assert response.status == 409
        assert "Not writable: " in response.body.decode()
    assert "not stored" not in server.log().removeprefix(log)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_directory_that_vanishes_while_its_file_comes(server: LiveServer, tmp_path: Path) -> None:
    """The application has removed it."""
    directory = tmp_path / "directory"
    directory.mkdir()
    log = server.log()
    with counted(server, not_stored=0), server.connect() as connection:
        body = content(4 * MIB)
        path = f"/receive?to={quote(str(directory / 'file'))}"
        connection.send(head("POST", path, {"Content-Length": str(len(body))}) + body[:1000])
        wait_until(lambda: reading(server), "the upload's beginning")
        directory.rmdir()
        connection.send(body[1000:])
        response = connection.response()
        assert response.status == 409
        assert "No such file or directory" in response.body.decode()
    assert "not stored" not in server.log().removeprefix(log)


def reading(server: LiveServer) -> bool:
    with server.connect() as connection:
        connection.send_request("GET", "/statistics")
        return bool(connection.response().json()["uploads"])


# Limits of the process


@contextlib.contextmanager
def limited(pid: int, kind: int, value: int) -> Iterator[None]:
    """A process may have no more than that for as long as the block runs."""
    before, most = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (value, most))
    try:
        yield
    finally:
        resource.prlimit(pid, kind, (before, most))


def test_file_that_the_process_may_not_write_is_a_413(server: LiveServer) -> None:
    """ulimit -f, or a file system for small files."""
    (worker,) = server.workers()
    with limited(worker, resource.RLIMIT_FSIZE, MIB):
        with counted(server, not_stored=1):
            check_not_stored(post_form(server, "/form", TOO_MUCH), TOO_LARGE)
        wait_until(lambda: not server.spooled_descriptors(worker), "the spool is closed", SOON)
        check_stored(server, Part("file", content(MIB - 1000), "f.bin"))
    check_stored(server)


def test_want_of_descriptors_is_a_503(server: LiveServer) -> None:
    """For the upload that needs one more; one that has its spool goes on."""
    (worker,) = server.workers()
    wait_until(lambda: not server.spooled_descriptors(worker), "the end of spools before")
    with HalfUpload(server) as upload, server.connect() as connection:
        server.wait_for_spool()
        connection.ping()
        taken = {int(name) for name in os.listdir(f"/proc/{worker}/fd")}
        lowest_free = next(number for number in itertools.count() if number not in taken)
        with limited(worker, resource.RLIMIT_NOFILE, lowest_free):
            check_not_stored(connection.post_form("/form", FITTING), NO_DESCRIPTORS)
            assert upload.finish().json() == form_description(upload.part)
    check_stored(server)


# A disk that hangs


def test_save_that_hangs_holds_up_itself_alone(server: LiveServer) -> None:
    """Nobody reads the pipes that two uploads are saved to; others are spooled and saved."""
    pipes = [server.directory / name for name in ("one", "two")]
    saved = server.directory / "saved.bin"
    with contextlib.ExitStack() as stack:
        hanging = []
        for pipe in pipes:
            os.mkfifo(pipe)
            connection = stack.enter_context(server.connect())
            body = form(FITTING)
            headers = {"Content-Type": FORM_TYPE}
            connection.send(request("POST", f"/save?to={quote(str(pipe))}", body, headers))
            hanging.append(connection)
        for _ in range(5):
            check_stored(server)
            assert post_form(server, f"/save?to={quote(str(saved))}", FITTING).body == b"saved"
            assert saved.read_bytes() == FITTING.content
        assert not any(connection.has_answer() for connection in hanging)
        for pipe, connection in zip(pipes, hanging, strict=True):
            assert pipe.read_bytes() == FITTING.content
            assert connection.response().body == b"saved"


def test_save_that_hangs_keeps_no_worker_alive(gunicorn: Gunicorn) -> None:
    """It ends behind graceful_timeout, with a 503 for the client."""
    with LiveServer(gunicorn, "--graceful-timeout", "1", application=APPLICATION) as server:
        pipe = server.directory / "pipe"
        os.mkfifo(pipe)
        with server.connect() as connection:
            path = f"/save?to={quote(str(pipe))}"
            connection.send(request("POST", path, form(FITTING), {"Content-Type": FORM_TYPE}))
            server.wait_for_spool()
            (old,) = server.workers()
            server.signal(signal.SIGHUP)
            assert connection.response().status == 503
        wait_until(lambda: old not in server.workers(), "the worker's end")
        check_stored(server)
        assert not server.own_tracebacks()


# At the start


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, who may give up rights")
def test_spool_directory_of_somebody_else_stops_the_boot(gunicorn: Gunicorn) -> None:
    """The master could write to it, and the worker's user can't."""
    with tempfile.TemporaryDirectory() as directory:  # root's, and nobody else's
        user = ("--user", "nobody", "--group", "nogroup", "--worker-tmp-dir", "/tmp")
        command = gunicorn.command(
            "applications:application", ("--bind", "127.0.0.1:0", "-k", COOPERATIVE, *user)
        )
        done = subprocess.run(
            command,
            env=environment_with({"COOPERATIVE_UPLOAD_SPOOL_DIRECTORY": directory}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == 4, done.stdout  # gunicorn's: the application can't be loaded
    named = [line for line in done.stdout.splitlines() if directory in line]
    assert named == [f"spool_directory: can't make files in {directory!r}: Permission denied"]
    assert "Traceback" not in done.stdout
