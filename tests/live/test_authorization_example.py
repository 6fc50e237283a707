"""The example of refusing an upload: what curl sends of one, and what is stored else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT
from live_server import Gunicorn, LiveServer


@pytest.fixture(scope="module")
def example(newest: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(
        newest,
        "--pythonpath",
        str(ROOT),
        application="examples.authorization:app",
        ready=lambda server: server.port,
    ) as server:
        yield server
        assert not server.own_tracebacks()


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 30 GB, of which no block is on disk."""
    path = tmp_path_factory.mktemp("upload") / "large.iso"
    with path.open("wb") as file:
        file.truncate(30 * 1000**3)
    return path


def curl(server: LiveServer, file: Path, *options: str, name: str = "") -> tuple[str, int, int]:
    """What curl printed, the status, and the bytes of the body that it sent."""
    url = f"http://127.0.0.1:{server.port}/files/{name}"
    command = ["curl", "-sS", "-T", str(file), "-w", "\n%{http_code} %{size_upload}", *options]
    command += [
        "--expect100-timeout",
        "20",
    ]  # not one second: the server may have to wait for a core
    result = subprocess.run([*command, url], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    text, _, numbers = result.stdout.rpartition("\n")
    status, sent = numbers.split()
    return text, int(status), int(sent)


@pytest.mark.parametrize(
    ("token", "status", "text"),
    [
        (None, 401, "This server needs a token"),
        ("mallory", 401, "This server needs a token"),
        ("alice", 413, "A file may have 10,000,000,000 bytes here."),
    ],
)
def test_refused_without_a_byte(
    example: LiveServer, upload: Path, token: str | None, status: int, text: str
) -> None:
    """curl waits for "100 Continue", and gets the refusal in its place."""
    options = ["-H", f"Authorization: Bearer {token}"] if token else []
    said, got, sent = curl(example, upload, *options)
    assert (got, sent) == (status, 0)
    assert text in said


def test_quota(example: LiveServer, tmp_path: Path) -> None:
    """What one has stored counts, and a user without quota stores nothing."""
    file = tmp_path / "small.bin"
    file.write_bytes(bytes(3_000_000))
    said, status, sent = curl(example, file, "-H", "Authorization: Bearer bob")
    assert (status, sent) == (413, 0)
    assert "You may store 0 bytes more." in said
    said, status, sent = curl(example, file, "-H", "Authorization: Bearer alice")
    assert (said, status, sent) == ("3,000,000 bytes stored\n", 201, 3_000_000)


def test_a_length_is_needed(example: LiveServer, tmp_path: Path) -> None:
    """A chunked upload, whose size nobody knows, is refused before it is sent too."""
    file = tmp_path / "small.bin"
    file.write_bytes(bytes(3_000_000))
    options = ("-H", "Authorization: Bearer alice", "-H", "Transfer-Encoding: chunked")
    said, status, sent = curl(example, file, *options, "-H", "Expect: 100-continue")
    assert (status, sent) == (411, 0)
    assert "Content-Length" in said


def test_a_name_that_is_none(example: LiveServer, tmp_path: Path) -> None:
    file = tmp_path / "..."
    file.write_bytes(b"x")
    said, status, _ = curl(example, file, "-H", "Authorization: Bearer alice")
    assert status == 400
    assert "no name for a file" in said
