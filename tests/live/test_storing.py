"""tests/support/storing_application.py under our worker, with curl: whole objects or none.

The storage is a folder; what is asked of it goes through its URL.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from disk import small_file_system
from http_client import content, head
from live_server import COOPERATIVE, STOCK, Gunicorn, LiveServer, wait_for_other_worker, wait_until

from cooperative_upload.storage import Storage, storage_for

DATA = content(3_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


class Storing:
    """A server, and the storage that it stores to."""

    def __init__(self, server: LiveServer, url: str) -> None:
        self.server = server
        self.storage: Storage = storage_for(url)
        self.root = Path(url.removeprefix("file://"))
        self.file = server.directory / "file.bin"
        self.file.write_bytes(DATA)

    def curl(self, path: str, *options: str) -> tuple[int, Any]:
        """The status, and what the JSON of the answer says."""
        done = subprocess.run(
            [
                "curl",
                "-sS",
                "-w",
                "\n%{http_code}",
                *options,
                self.server.url + quote(path, safe="/?"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body) if body.startswith(("{", "[")) else body

    def stored(self) -> dict[str, str]:
        """The keys, and the digests of what is stored."""
        found = {}
        for one in self.storage.list():
            with self.storage.open(one.key) as opened:
                digest = hashlib.sha256()
                for block in opened.blocks():
                    digest.update(block)
            found[one.key] = digest.hexdigest()
        return found

    def check_nothing_else(self) -> None:
        """No file that is no object, also none without a name."""
        hidden = self.root / ".uploads"
        assert not hidden.exists() or not [path for path in hidden.rglob("*") if path.is_file()]
        wait_until(lambda: not self.open_files() or None, "an upload to be let go")

    def open_files(self) -> list[str]:
        found = []
        for pid in self.server.workers():
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    target = os.readlink(entry)
                except OSError:
                    continue
                if target.startswith(f"{self.root}/"):
                    found.append(target)
        return found


@pytest.fixture(scope="module")
def shared(newest: Gunicorn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    with running(newest, tmp_path_factory.mktemp("root")) as storing:
        yield storing


@pytest.fixture
def storing(shared: Storing) -> Storing:
    """An empty storage."""
    for one in list(shared.storage.list()):
        shared.storage.delete(one.key)
    return shared


@contextlib.contextmanager
def running(gunicorn: Gunicorn, root: Path, worker: str = COOPERATIVE) -> Iterator[Storing]:
    url = f"file://{root}"
    with LiveServer(
        gunicorn,
        application="storing_application:application",
        worker=worker,
        environment={"STORAGE_URL": url},
    ) as server:
        yield Storing(server, url)


def test_by_curl(storing: Storing) -> None:
    """Bodies, parts, parsed files, and files that the factory has sent on, whole each of them."""
    check_all_ways(storing)


def test_under_the_stock_worker(newest: Gunicorn, tmp_path: Path) -> None:
    """Where the extension's wrapper alone makes the input cooperative."""
    with running(newest, tmp_path, STOCK) as storing:
        check_all_ways(storing)


def check_all_ways(storing: Storing) -> None:
    upload = ("-T", str(storing.file))
    sent = ("-F", "keep=yes", "-F", f"file=@{storing.file};filename=f.bin;type=image/png")
    assert storing.curl("/body/a/ü.bin", *upload)[1]["digest"] == DIGEST
    assert storing.curl("/body/chunked", *upload, "-H", "Transfer-Encoding: chunked")[0] == 200
    assert storing.curl("/parts", *sent) == (200, ["parts/f.bin"])
    _, described = storing.curl("/parsed", *sent)
    assert described == {"key": "parsed/f.bin", "size": len(DATA), "type": "image/png"}
    _, described = storing.curl("/form", *sent)
    assert described.pop("digest") == DIGEST
    assert described == {"key": "forms/f.bin", "size": len(DATA), "type": "image/png"}
    keys = ["a/ü.bin", "chunked", "forms/f.bin", "parsed/f.bin", "parts/f.bin"]
    assert storing.stored() == dict.fromkeys(keys, DIGEST)
    storing.check_nothing_else()


def test_refused_before_a_byte_is_sent(storing: Storing) -> None:
    """curl waits for 100 Continue, and sends nothing of what is there already."""
    storing.curl("/body/name", "-T", str(storing.file))
    again = ("-T", str(storing.file), "-H", "Expect: 100-continue")
    status = storing.curl("/body/name", *again, "-w", " %{size_upload}\n%{http_code}")
    assert status[0] == 409
    assert status[1].endswith(" 0")
    assert storing.curl("/body/name?overwrite", *again)[0] == 200
    storing.check_nothing_else()


def test_what_the_view_does_not_commit(storing: Storing) -> None:
    """It is gone with the request; the next upload has the name."""
    sent = ("-F", "keep=no", "-F", f"file=@{storing.file};filename=f.bin")
    assert storing.curl("/form", *sent) == (200, {"key": None})
    assert storing.stored() == {}
    storing.check_nothing_else()


@pytest.mark.parametrize("path", ["/body/name", "/form"])
def test_a_client_that_is_killed_in_the_middle(storing: Storing, path: str) -> None:
    """Nothing is left, also of a form's file."""
    half_of_an_upload(storing, path)
    storing.check_nothing_else()
    assert storing.stored() == {}


def half_of_an_upload(storing: Storing, path: str) -> None:
    how = ("-T", str(storing.file))
    if path == "/form":
        how = ("-F", f"file=@{storing.file};filename=f.bin")
    slow = ("--limit-rate", "1M", "-s", "-o", os.devnull)
    client = subprocess.Popen(["curl", *slow, *how, storing.server.url + path])
    try:
        wait_until(lambda: storing.open_files() or None, "the upload to be on the disk")
    finally:
        client.kill()
        client.wait()


def test_a_worker_that_is_killed_in_the_middle(storing: Storing) -> None:
    """Nothing is left, and its successor stores the same under the same name."""
    worker = storing.server.answering_worker()
    with storing.server.connect() as connection:
        connection.send(head("PUT", "/body/name", {"Content-Length": str(len(DATA))}))
        connection.send(DATA[: len(DATA) // 2])
        wait_until(lambda: storing.open_files() or None, "the upload to be on the disk")
        os.kill(worker, signal.SIGKILL)
        wait_for_other_worker(storing.server, worker)
    storing.check_nothing_else()
    assert storing.stored() == {}
    assert storing.curl("/body/name", "-T", str(storing.file))[0] == 200
    assert storing.stored() == {"name": DIGEST}


def test_a_full_disk(newest: Gunicorn) -> None:
    """A 507 that says so, before the body where its length is known, and nothing left."""
    with small_file_system(2_000_000) as root, running(newest, root) as storing:
        chunked = ("-H", "Transfer-Encoding: chunked")
        for more in ((), chunked):
            status, text = storing.curl("/body/name", "-T", str(storing.file), *more)
            assert status == 507
            assert "no space left" in text
        form = ("-F", "keep=yes", "-F", f"file=@{storing.file};filename=f.bin")
        assert storing.curl("/form", *form)[0] == 507
        assert storing.stored() == {}
        storing.check_nothing_else()
        assert storing.curl("/body/small", "-X", "PUT", "--data-binary", "x")[0] == 200
