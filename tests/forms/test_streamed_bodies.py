"""receive(): raw bodies that become files, their digests, targets and parts."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from disk import no_leaks, small_file_system
from streamed import DATA, FORM, SHA256, Run, content_digest, form, in_a_hub
from unprivileged import run_unprivileged
from werkzeug.wrappers import Request
from wsgi import environ

from cooperative_upload.errors import (
    DigestMismatch,
    IncompleteBody,
    MalformedBody,
    PartialBody,
    StorageError,
)
from cooperative_upload.forms.streaming import Received, receive, stream_parts


@pytest.mark.parametrize("size", [0, 1, 1000, 600_000, len(DATA)])
def test_receive(run: Run, tmp_path: Path, size: int) -> None:
    """The file, its size and its digests; from an environ and from a request alike."""
    target = tmp_path / "target"
    data = DATA[:size]
    requests: list[Any] = [environ(data), Request(environ(data))]
    for request in requests:
        received = run(partial(receive, request, target, digests=["sha-256"]))
        assert (received.path, received.size) == (str(target), size)
        assert received.digests == {"sha-256": hashlib.sha256(data).digest()}
        assert target.read_bytes() == data
        assert list(tmp_path.iterdir()) == [target]


def test_receive_chunked(run: Run, tmp_path: Path) -> None:
    """Of unknown length: to the end of the server's stream."""
    chunked = environ(DATA, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
    assert run(lambda: receive(chunked, tmp_path / "target")).size == len(DATA)


def test_only_the_body_is_taken(run: Run, tmp_path: Path) -> None:
    """What follows on the connection belongs to the next request."""
    stream = io.BytesIO(DATA + b"next")
    run(lambda: receive(environ(DATA, wsgi_input=stream), tmp_path / "target"))
    assert stream.read() == b"next"


def test_an_existing_file_is_replaced_as_a_whole(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old and much longer" * 1000)
    target.chmod(0o640)
    run(lambda: receive(environ(b"new"), target))
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("arrived", [0, 1000, 600_000, len(DATA) - 1])
def test_a_broken_body_leaves_the_old_file(run: Run, tmp_path: Path, arrived: int) -> None:
    """And no other, named or not."""
    target = tmp_path / "target"
    target.write_bytes(b"old")
    broken = environ(DATA, wsgi_input=io.BytesIO(DATA[:arrived]))
    with pytest.raises(IncompleteBody) as caught:
        run(lambda: receive(broken, target))
    assert caught.value.received == arrived
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_CONTENT_DIGEST": content_digest(SHA256.digest())},
        {"HTTP_REPR_DIGEST": content_digest(hashlib.sha512(DATA).digest(), "sha-512")},
        {"HTTP_CONTENT_MD5": base64.b64encode(hashlib.md5(DATA).digest()).decode()},
        {"HTTP_CONTENT_DIGEST": "unknown=:AAAA:"},
    ],
)
def test_announced_digests_that_are_right(
    run: Run, tmp_path: Path, headers: dict[str, str]
) -> None:
    """The file is there, and the digests are given back with those that were asked for."""
    target = tmp_path / "target"
    received = run(lambda: receive(environ(DATA, **headers), target, digests=["sha"]))
    assert received.digests["sha"] == hashlib.sha1(DATA).digest()
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_CONTENT_DIGEST": content_digest(bytes(32))},
        {"HTTP_CONTENT_DIGEST": content_digest(SHA256.digest()), "HTTP_CONTENT_MD5": "AAAA"},
        {"HTTP_REPR_DIGEST": content_digest(SHA256.digest()[:-1])},
    ],
)
def test_announced_digests_that_are_wrong(
    run: Run, tmp_path: Path, headers: dict[str, str]
) -> None:
    """A 400 with both values, and no file."""
    asked = environ(DATA, **headers)
    with pytest.raises(DigestMismatch) as caught:
        run(lambda: receive(asked, tmp_path / "target"))
    assert caught.value.computed.hex() in str(caught.value)
    assert caught.value.announced.hex() in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_digest_header_that_is_none_is_seen_before_the_body(run: Run, tmp_path: Path) -> None:
    stream = io.BytesIO(DATA)
    asked = environ(DATA, wsgi_input=stream, HTTP_CONTENT_DIGEST="nonsense")
    with pytest.raises(MalformedBody, match="nonsense"):
        run(lambda: receive(asked, tmp_path / "target"))
    assert stream.tell() == 0


@pytest.mark.parametrize("size", [10, len(DATA)])
def test_a_target_that_cannot_be(run: Run, tmp_path: Path, size: int) -> None:
    """The application's own choice: what open() says, whatever the size, before the body."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("missing/file")
    names = ["directory", "missing/file", "file/below", "loop", "loop/file", "dangling", "new/"]
    for name in [*names, "x" * 256]:
        target = f"{tmp_path}/{name}"
        with pytest.raises(OSError, match="Errno") as expected:
            open(target, "wb").close()
        asked = environ(DATA[:size])
        stream = asked["wsgi.input"]
        with pytest.raises(OSError, match="Errno") as caught:
            run(partial(receive, asked, target))
        assert type(caught.value) is type(expected.value), name
        assert caught.value.errno == expected.value.errno, name
        assert stream.tell() == 0

        def save(target: str = target) -> None:
            body = form(("file", "f", DATA[:size]))
            next(stream_parts(environ(body, CONTENT_TYPE=FORM))).save_to(target)

        with pytest.raises(type(expected.value)) as caught:
            run(save)
        assert caught.value.errno == expected.value.errno, name


def test_targets_that_open_takes(
    run: Run, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A link to a file that is not there yet, one to a file, a device and a pipe."""
    (tmp_path / "new link").symlink_to("new")
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old link").symlink_to("old")
    for name in ("new link", "old link"):
        run(partial(receive, environ(DATA), tmp_path / name))
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == DATA
    run(partial(receive, environ(DATA), "/dev/null"))
    pipe = tmp_path_factory.mktemp("elsewhere") / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        run(partial(receive, environ(b"content"), pipe))
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)


def test_rights_at_the_target() -> None:
    """Without them a PermissionError; a file may be written where none may be made."""
    run_unprivileged(
        """
from cooperative_upload.forms.streaming import receive
data = b"x" * 1_000_000
def asked():
    return {"wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))}
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "file")
    with open(path, "wb") as file:
        file.write(b"old")
    os.chmod(directory, 0o555)
    receive(asked(), path)
    assert open(path, "rb").read() == data
    receive(asked(), "/dev/null")
    os.chmod(path, 0o444)
    for target in (path, os.path.join(directory, "new")):
        request = asked()
        try:
            receive(request, target)
        except PermissionError as error:
            assert type(error) is PermissionError, type(error)
            assert request["wsgi.input"].handed_out == 0
        else:
            raise AssertionError(target)
    os.chmod(directory, 0o755)
"""
    )


def ranged(data: bytes, content_range: str, **more: str) -> dict[str, Any]:
    return environ(data, REQUEST_METHOD="PUT", HTTP_CONTENT_RANGE=content_range, **more)


@pytest.mark.parametrize(
    ("content_range", "words"),
    [
        ("bytes 2500000-4999999/5000000", "(bytes 2,500,000 to 4,999,999 of 5,000,000)"),
        ("bytes 5-9/*", "(bytes 5 to 9)"),
        ("bytes */10", "(Content-Range: bytes */10)"),
        ("nonsense", "(Content-Range: nonsense)"),
    ],
)
def test_a_part_of_a_file_is_refused(
    run: Run, tmp_path: Path, content_range: str, words: str
) -> None:
    """Which bytes came is said, none is read, and the whole file stays."""
    (tmp_path / "file").write_bytes(b"old")
    asked = ranged(b"tail.", content_range)
    stream = asked["wsgi.input"]
    with pytest.raises(PartialBody) as caught:
        run(lambda: receive(asked, tmp_path / "file"))
    assert caught.value.code == 400
    assert words in str(caught.value.description)
    assert stream.tell() == 0
    assert (tmp_path / "file").read_bytes() == b"old"
    a_form = {**asked, "CONTENT_TYPE": FORM}
    with pytest.raises(PartialBody):
        run(lambda: next(stream_parts(a_form)))


def test_parts_of_files_that_are_expected(run: Run, tmp_path: Path) -> None:
    """They are stored, the result says which bytes they are, and their number is checked."""

    def accept(data: bytes, content_range: str, **more: str) -> Received:
        asked = ranged(data, content_range, **more)
        received: Received = run(lambda: receive(asked, tmp_path / "part", accept_range=True))
        return received

    received = accept(b"tail.", "bytes 5-9/10")
    assert received.content_range is not None
    assert (received.content_range.start, received.content_range.stop) == (5, 10)
    assert received.content_range.length == 10
    assert (tmp_path / "part").read_bytes() == b"tail."
    with pytest.raises(MalformedBody, match="announces 4 bytes"):
        accept(b"tail!", "bytes 5-8/10")
    with pytest.raises(PartialBody):
        accept(b"tail!", "nonsense")
    assert (tmp_path / "part").read_bytes() == b"tail."
    # Of the whole file, and of the part.
    digest = content_digest(hashlib.sha256(b"head.tail.").digest())
    accept(b"tail.", "bytes 5-9/10", HTTP_REPR_DIGEST=digest)
    with pytest.raises(DigestMismatch):
        accept(b"tail.", "bytes 5-9/10", HTTP_CONTENT_DIGEST=digest)
    whole = run(lambda: receive(environ(b"whole"), tmp_path / "whole", accept_range=True))
    assert whole.content_range is None
    body = form(("file", "f", b"tail."))
    asked = {**ranged(body, "bytes 5-9/10"), "CONTENT_TYPE": FORM}
    assert run(lambda: next(stream_parts(asked, accept_range=True)).read()) == b"tail."


def test_a_full_disk() -> None:
    """A StorageError, no file, and the space is free again."""
    with small_file_system(1_000_000) as disk, no_leaks(disk):
        with pytest.raises(StorageError) as caught:
            in_a_hub(lambda: receive(environ(DATA), disk / "target"))
        assert caught.value.code == 507
