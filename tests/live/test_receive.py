"""examples/upload_server.py under our worker: whole files or none, none outside of its root."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from checkout import ROOT
from http_client import (
    BOUNDARY,
    END_OF_FORM,
    FORM_TYPE,
    Connection,
    Part,
    Response,
    chunk,
    chunked,
    content,
    form,
    head,
    pieces_of,
    sha256,
)
from live_server import Gunicorn, LiveServer, descriptors, wait_until

OLD = b"the old file, much older than the new one"
DATA = content(3_000_000)
CHUNKED = {"Transfer-Encoding": "chunked"}


class UploadServer(NamedTuple):
    """The example, and the directory in which its root is the only place to write to."""

    server: LiveServer
    root: Path

    @property
    def outside(self) -> Path:
        return self.root.parent

    def put(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Response:
        with self.server.connect() as connection:
            connection.send_request("PUT", path, body, headers)
            return connection.response()

    def half_of_an_upload(self, path: str, sent: int) -> Connection:
        connection = self.server.connect()
        connection.send(head("PUT", path, {"Content-Length": str(len(DATA))}) + DATA[:sent])
        return connection

    def receiving(self) -> int:
        """How many files without a name are open below the root."""
        (worker,) = self.server.workers()
        return sum(path.startswith(f"{self.root}/") for path in descriptors(worker))

    def wait_until_receiving(self, uploads: int) -> None:
        wait_until(lambda: self.receiving() >= uploads, f"{uploads} files are being received")

    def files(self) -> dict[str, bytes]:
        """All that is below the root, and nothing else is allowed to be anywhere near it."""
        everything = files_below(self.outside)
        assert not [name for name in everything if not name.startswith("root/")], everything
        return {name.removeprefix("root/"): data for name, data in everything.items()}


def files_below(directory: Path) -> dict[str, bytes]:
    found = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            if path.is_symlink():
                continue  # a test's own
            found[str(path.relative_to(directory))] = path.read_bytes()
    return found


def serve(gunicorn: Gunicorn, root: Path) -> LiveServer:
    return LiveServer(
        gunicorn,
        *("--pythonpath", str(ROOT)),
        application="examples.upload_server:app",
        environment={"UPLOAD_ROOT": str(root)},
    )


@pytest.fixture(scope="module")
def shared(newest: Gunicorn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadServer]:
    root = tmp_path_factory.mktemp("uploads") / "root"
    with serve(newest, root) as server:
        yield UploadServer(server, root)


@pytest.fixture
def uploads(shared: UploadServer) -> Iterator[UploadServer]:
    """The server with an empty root; no test may leave a file without a name open, or write
    anywhere else."""
    yield shared
    try:
        check_nothing_left(shared)
    finally:
        empty(shared.root)


def check_nothing_left(shared: UploadServer) -> None:
    wait_until(lambda: shared.receiving() == 0, "all files have a name or are gone")
    shared.files()
    assert "Traceback" not in shared.server.log()


def empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


# Whole or not at all.


@pytest.mark.parametrize("arrived", [0, 1_000_000, len(DATA) - 1, len(DATA)])
def test_killed_in_the_middle(gunicorn: Gunicorn, tmp_path: Path, arrived: int) -> None:
    """kill -9 of the worker: the old file or, once all of it came, the new one; no other."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(OLD)
    with serve(gunicorn, root) as server:
        uploads = UploadServer(server, root)
        with ExitStack() as stack:
            for path in ("/file", "/new", "/below/new"):
                connection = uploads.half_of_an_upload(path, arrived)
                stack.callback(connection.sock.close)
            if 0 < arrived < len(DATA):
                uploads.wait_until_receiving(3)
            (worker,) = server.workers()
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: server.workers() not in ([], [worker]), "a new worker")
        files = uploads.files()
        new = [DATA] if arrived == len(DATA) else []
        assert files.pop("file") in [OLD, *new]
        assert set(files) <= ({"new", "below/new"} if new else set())
        assert all(data in new for data in files.values())
        assert uploads.put("/file", DATA).status == 201
        assert (root / "file").read_bytes() == DATA


@pytest.mark.parametrize("arrived", [0, 1_000_000, len(DATA) - 1])
def test_client_gone_in_the_middle(uploads: UploadServer, arrived: int) -> None:
    """Whether it says so or not, the old file stays, and the answer says how far it came."""
    uploads.put("/file", OLD)
    with uploads.half_of_an_upload("/file", arrived) as connection:
        connection.reset()
    with uploads.half_of_an_upload("/file", arrived) as connection:
        connection.end_sending()
        response = connection.response()
        assert response.status == 400
        assert f"received {arrived:,} of 3,000,000 bytes" in response.body.decode()
    wait_until(lambda: uploads.receiving() == 0, "what came is thrown away")
    assert uploads.files() == {"file": OLD}


def test_client_gone_in_the_middle_of_a_form(uploads: UploadServer) -> None:
    """The parts that came whole are stored, as each is when it ends; the broken one is not."""
    body = form(Part("a", DATA, "whole"), Part("b", DATA, "broken"))
    headers = {"Content-Length": str(len(body)), "Content-Type": FORM_TYPE}
    with uploads.server.connect() as connection:
        connection.send(head("POST", "/forms/", headers) + body[:-1000])
        connection.end_sending()
        assert connection.response().status == 400
    assert uploads.files() == {"forms/whole": DATA}


def test_many_at_once(uploads: UploadServer) -> None:
    """Raw bodies, chunks and forms, beside some that never end."""
    contents = [content(500_000 + 300_007 * i, seed=i) for i in range(8)]

    def upload(job: tuple[int, str]) -> Response:
        number, kind = job
        data = contents[number]
        if kind == "length":
            return uploads.put(f"/length/{number}?sha256=1", data)
        if kind == "chunks":
            body = chunked(pieces_of(data, 60_000))
            return uploads.put(f"/chunks/{number}?sha256=1", body, CHUNKED)
        with uploads.server.connect() as connection:
            return connection.post_form("/form/?sha256=1", Part("file", data, str(number)))

    jobs = [(number, kind) for number in range(8) for kind in ("length", "chunks", "form")]
    with ExitStack() as stack:
        for number in range(5):
            stalled = uploads.half_of_an_upload(f"/stalled/{number}", 1_000_000)
            stack.callback(stalled.sock.close)
        uploads.wait_until_receiving(5)
        with ThreadPoolExecutor(len(jobs)) as pool:
            responses = list(pool.map(upload, jobs))
        with uploads.server.connect() as connection:
            connection.ping()
    for (number, kind), response in zip(jobs, responses, strict=True):
        assert response.status == 201
        assert sha256(contents[number]) in response.body.decode()
        assert (uploads.root / kind / str(number)).read_bytes() == contents[number]
    assert len(uploads.files()) == len(jobs)


def test_two_uploads_of_one_file(uploads: UploadServer) -> None:
    """The last that ends is the file, whole."""
    uploads.put("/file", OLD)
    other = content(2_500_000, seed=7)
    with uploads.half_of_an_upload("/file", 2_000_000) as slow:
        uploads.wait_until_receiving(1)
        assert uploads.put("/file", other).status == 201
        assert uploads.files() == {"file": other}
        slow.send(DATA[2_000_000:])
        assert slow.response().status == 201
    assert uploads.files() == {"file": DATA}


# Parts of a file.


def test_resumed_upload_does_not_replace_the_file(uploads: UploadServer, tmp_path: Path) -> None:
    """curl sends what it takes for the rest; the server has no first half to put it to."""
    uploads.put("/file", OLD)
    (tmp_path / "file").write_bytes(DATA)
    url = f"http://127.0.0.1:{uploads.server.port}/file"
    command = ["curl", "-sS", "-C", "2500000", "-T", str(tmp_path / "file"), url]
    answer = subprocess.run(
        [*command, "-w", "%{http_code}"], capture_output=True, check=True, text=True, timeout=30
    ).stdout
    assert "(bytes 2,500,000 to 2,999,999 of 3,000,000)" in answer
    assert answer.endswith("400")
    assert uploads.files() == {"file": OLD}


# What browsers send.


def test_form_with_an_unused_file_input(uploads: UploadServer) -> None:
    """The others are stored; content without a name is refused with a sentence."""
    unused, file = Part("unused", b"", ""), Part("file", DATA, "Q3: results.pdf")
    with uploads.server.connect() as connection:
        assert connection.post_form("/", unused, file, unused).status == 201
        assert uploads.files() == {"Q3: results.pdf": DATA}
        response = connection.post_form("/", Part("file", b"content", ""))
        assert response.status == 400
        assert "The name of the file is empty." in response.body.decode()


# Digests.


def announced(algorithm: str, digest: bytes) -> str:
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Digest", announced("sha-256", hashlib.sha256(DATA).digest())),
        ("Repr-Digest", announced("sha-512", hashlib.sha512(DATA).digest())),
        ("Content-MD5", base64.b64encode(hashlib.md5(DATA).digest()).decode()),
    ],
)
def test_announced_digests(uploads: UploadServer, name: str, value: str, framing: str) -> None:
    """Right ones are stored; wrong ones leave the old file, and say why."""
    uploads.put("/file", OLD)
    wrong = DATA[:-1] + b"?"
    for data, status, stored in ((wrong, 400, OLD), (DATA, 201, DATA)):
        headers = {name: value}
        body = data
        if framing == "chunks":
            headers |= CHUNKED
            body = chunked(pieces_of(data, 50_000))
        response = uploads.put("/file", body, headers)
        assert response.status == status
        if status == 400:
            assert "not what was announced" in response.body.decode()
        assert uploads.files() == {"file": stored}


@pytest.mark.parametrize("value", ["sha-256=:?:", "sha-256=abc", "sha-256=:AAA:", "sha-256"])
def test_digests_that_are_none(uploads: UploadServer, value: str) -> None:
    """A header that can't be read is refused, and not passed over."""
    response = uploads.put("/file", b"data", {"Content-Digest": value})
    assert response.status == 400
    assert uploads.files() == {}


# Paths.

DOTS = ["..", "%2e%2e", "%2E.", ".%2e", "..%00", "%00..", "...", ".%20.", "..%20", "%20.."]
OVERLONG = ["%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "%uff0e%uff0e", "%ef%bc%8e%ef%bc%8e"]
SLASHES = ["/", "%2f", "%2F", "%5c", "\\", "%c0%af", "%ef%bc%8f", "%e2%88%95", "%252f"]
HOSTILE_PATHS = [
    *(f"/{dots}{slash}stolen" for dots in [*DOTS, *OVERLONG] for slash in SLASHES),
    *(f"/a/b/{dots}/{dots}/{dots}/{dots}/stolen" for dots in [*DOTS, *OVERLONG]),
    *(f"/a{slash}..{slash}..{slash}stolen" for slash in SLASHES),
    *(f"/{slash}{slash}OUTSIDE/stolen" for slash in SLASHES),
    "/%2fOUTSIDE%2fstolen",
    "/link/stolen",
    "/link%2fstolen",
    "/./link/../link/stolen",
    "/below/link/stolen",
    "/dangling",
    "/file:///OUTSIDE/stolen",
    "/C:%5cstolen",
    "/stolen:stream",
    "/NUL",
    "/stolen%00.txt",
    "/stolen%0a",
    "/stolen.",
    "/" + "x" * 256,
    "/" + "x/" * 2030 + "x",  # with the root's, longer than a path may be
    "/" + "x/" * 2100 + "x",  # longer than a request line may be
]


@contextlib.contextmanager
def links_to_the_outside(*links: Path, to: Path) -> Iterator[None]:
    """Symbolic links that lead out of the root, which are still there in the end."""
    for link in links:
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(to)
    yield
    for link in links:
        assert link.is_symlink()


def curl(uploads: UploadServer, method: str, path: str) -> int:
    """The status that curl gets for a path that it does not change."""
    path = path.replace("OUTSIDE", quote(str(uploads.outside)))
    url = f"http://127.0.0.1:{uploads.server.port}{path}"
    command = ["curl", "-sS", "--path-as-is", "--globoff", "-o", os.devnull]
    command += ["-X", method, "-H", f"Content-Type: {FORM_TYPE}", "--data-binary", "@-"]
    command += ["-w", "%{http_code}", "--max-time", "20", url]
    body = form(Part("file", b"stolen", "stolen"))
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_hostile_paths(uploads: UploadServer, method: str) -> None:
    """Each is refused, or is a name below the root; nothing is ever written anywhere else."""
    root, outside = uploads.root, uploads.outside
    with (
        links_to_the_outside(root / "link", root / "below" / "link", to=outside),
        links_to_the_outside(root / "dangling", to=outside / "stolen"),
    ):
        for path in HOSTILE_PATHS:
            status = curl(uploads, method, path if method == "PUT" else f"{path}/")
            assert status in (201, 308, 400, 404, 405, 414), path
            assert os.listdir(outside) == ["root"], path


def test_paths_that_look_hostile(uploads: UploadServer) -> None:
    """Names that are only unusual are stored under just that name."""
    for name in (
        "%252e%252e",
        "...x",
        ".hidden",
        "a..b",
        "ünïcödé",
        "a b",
        "%",
        "-rf",
        "~",
        "$HOME",
    ):
        assert uploads.put(f"/{quote(name)}", b"data").status == 201
        assert (uploads.root / name).read_bytes() == b"data"


def test_names_that_are_taken(uploads: UploadServer) -> None:
    """A directory is not replaced by a file, nor a file by a directory."""
    assert uploads.put("/file", OLD).status == 201
    assert uploads.put("/directory/file", OLD).status == 201
    for path in ("/file/below", "/directory"):
        assert uploads.put(path, DATA).status == 409, path
    assert uploads.files() == {"file": OLD, "directory/file": OLD}


HOSTILE_NAMES = [
    'filename="../stolen"',
    'filename="..%2fstolen"',
    'filename="..\\\\stolen"',
    'filename="..\\stolen"',
    'filename="/tmp/stolen"',
    'filename="a/b"',
    'filename="link/stolen"',
    'filename="C:\\stolen"',
    'filename="."',
    'filename=".."',
    'filename=""',
    'filename="dangling"',
    'filename="stolen."',
    'filename="NUL"',
    "filename*=UTF-8''..%2fstolen",
    "filename*=UTF-8''%2e%2e%2fstolen",
    "filename*=UTF-8''%00stolen",
    "filename*=UTF-8''%ef%bc%8e%ef%bc%8e%ef%bc%8fstolen",
    "filename=\"ok\"; filename*=UTF-8''..%2fstolen",
    'filename="' + "x" * 256 + '"',
]


@pytest.mark.parametrize("disposition", HOSTILE_NAMES)
def test_hostile_names_in_a_form(uploads: UploadServer, disposition: str) -> None:
    """Refused with a 400, or stored below the root under a name without a directory."""
    part = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; {disposition}\r\n\r\n'
        "stolen\r\n"
    )
    body = part.encode() + END_OF_FORM
    with (
        links_to_the_outside(uploads.root / "link", to=uploads.outside),
        links_to_the_outside(uploads.root / "dangling", to=uploads.outside / "stolen"),
        uploads.server.connect() as connection,
    ):
        status = connection.post("/", body, {"Content-Type": FORM_TYPE}).status
    stored = uploads.files()
    assert status == (201 if stored else 400)
    assert all("/" not in name for name in stored)


def test_a_form_without_an_end(uploads: UploadServer) -> None:
    """Chunks that end properly around a form that does not."""
    body = form(Part("file", DATA, "file")).removesuffix(END_OF_FORM)
    with uploads.server.connect() as connection:
        connection.send(
            head("POST", "/", {**CHUNKED, "Content-Type": FORM_TYPE}) + chunk(body) + b"0\r\n\r\n"
        )
        assert connection.response().status == 400
    assert uploads.files() == {}
