"""Who goes on with an uploaded file when its request has ended, and how to keep one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
import wsgi
from disk import busy_disk, open_files
from flask import Flask, request
from greenlets import hub_scheduler, hub_writer, in_greenlet, join, wait_until
from http_client import FORM_TYPE, Part, form
from spools import MEMORY
from wsgi import environ

from cooperative_upload.flask_ext import CooperativeUpload
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.temporary_file import Spool, spools_closed_at_the_end

DATA = bytes(range(256)) * 400
NAME = "scan\n.tiff"
TOLD = (
    "The uploaded file 'scan\\n.tiff' was used after its request had closed it. Spool.keep() "
    "gives one that stays open."
)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "cooperative_upload"]


# What waits for the disk, behind what was written before.
WAITS: dict[str, tuple[bytes, Callable[[Spool], object]]] = {
    "rollover": (b"x", lambda spool: spool.rollover()),
    "the write that leaves memory": (b"x", lambda spool: spool.write(DATA)),
    "fileno": (b"x", lambda spool: spool.fileno()),
    "truncate": (b"x", lambda spool: spool.truncate(MEMORY + 1)),
    "write": (DATA, lambda spool: [spool.write(DATA) for _ in range(9)]),
    "flush": (DATA, lambda spool: spool.flush()),
    "read": (DATA, lambda spool: spool.read()),
    "readline": (DATA, lambda spool: spool.readline()),
    "seek": (DATA, lambda spool: spool.seek(0)),
    "keep": (DATA, lambda spool: spool.keep()),
    "save_to": (DATA, lambda spool: spool.save_to("/not/there")),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_file_that_is_closed_under_a_reader(
    name: str, settings: UploadSettings, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The request ends while another greenlet waits for the disk: a closed file, and a line."""
    content, use = WAITS[name]
    errors: list[BaseException] = []

    def go_on(spool: Spool) -> None:
        with pytest.raises(ValueError, match=r"^I/O operation on closed file\.$") as caught:
            use(spool)
        errors.append(caught.value)

    def request() -> None:
        with spools_closed_at_the_end():
            spool = Spool(settings, filename=NAME)
            spool.write(content)
            if content is DATA:
                spool.flush()
                spool.write(b"and more")
            spools.append(spool)
            go_ahead.wait()

    spools: list[Spool] = []
    go_ahead = gevent.event.Event()
    with hub_scheduler():
        requests = [gevent.spawn(request)]
        wait_until(lambda: spools)
        with busy_disk(settings) as released:
            late = gevent.spawn(go_on, spools[0])
            gevent.sleep(0)
            assert not late.dead  # it waits
            go_ahead.set()
            join(*requests)
            assert spools[0].closed
            released.set()
            join(late)
    assert len(errors) == 1
    assert told(caplog) == [TOLD]
    wait_until(lambda: open_files(directory) == 0)


def test_a_file_that_is_used_afterwards(
    settings: UploadSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once for each file; not of who closes one and goes on in the request itself."""
    with spools_closed_at_the_end():
        spools = [Spool(settings, filename=NAME), Spool(settings, filename=NAME)]
        spools[0].close()
        with pytest.raises(ValueError, match="closed file"):
            spools[0].read()
        assert told(caplog) == []
    for spool in (*spools, *spools):
        with pytest.raises(ValueError, match="closed file"):
            spool.read()
        spool.close()
    assert told(caplog) == [TOLD] * 2
    own = Spool(settings)
    own.close()
    with pytest.raises(ValueError, match="closed file"):
        own.read()
    assert len(told(caplog)) == 2


def test_a_thread_that_goes_on(settings: UploadSettings, caplog: pytest.LogCaptureFixture) -> None:
    """However the two come together: the right bytes or a closed file, and never another's."""
    caplog.set_level(logging.CRITICAL, "cooperative_upload")
    outcomes: list[object] = []

    pieces = {DATA[at : at + 1000] for at in range(0, len(DATA), 1000)} | {b""}

    def go_on(spool: Spool) -> None:
        try:
            while (piece := spool.read(1000)) in pieces:
                if not piece:
                    spool.seek(0)
            outcomes.append(piece)
        except BaseException as error:
            outcomes.append(error)

    for _ in range(200):
        spool = Spool(settings)
        spool.write(DATA)
        spool.seek(0)
        thread = threading.Thread(target=go_on, args=(spool,))
        thread.start()
        spool.close()
        other = Spool(settings)  # which the system may give the same descriptor
        other.write(bytes(len(DATA)))
        other.flush()
        thread.join()
        other.close()
    assert [type(outcome) for outcome in outcomes] == [ValueError] * 200
    assert {str(outcome) for outcome in outcomes} == {"I/O operation on closed file."}


@pytest.mark.parametrize("size", [0, 100, len(DATA)], ids=["empty", "memory", "disk"])
def test_keep(settings: UploadSettings, size: int, tmp_path: Path) -> None:
    """The same content at the same place, open when the request has ended, until it is closed."""

    def test() -> None:
        with spools_closed_at_the_end() as of_request:
            spool = Spool(settings, filename=NAME)
            spool.write(DATA[:size])
            spool.seek(size // 2)
            assert spool.read(1) == DATA[size // 2 : size // 2 + 1][:size]
            kept = spool.keep()
            assert spool.closed
            assert of_request.open == set()
        assert kept.read() == DATA[:size][size // 2 + 1 :]
        kept.seek(0)
        kept.save_to(tmp_path / "saved")
        assert (tmp_path / "saved").read_bytes() == DATA[:size]
        kept.seek(0, 2)
        kept.write(b"more")
        kept.seek(size)
        assert kept.read() == b"more"
        kept.close()

    with hub_scheduler(), hub_writer():
        in_greenlet(test)


def test_keep_after_the_end(settings: UploadSettings) -> None:
    """Is too late."""
    with spools_closed_at_the_end():
        spool = Spool(settings)
    with pytest.raises(ValueError, match="closed file"):
        spool.keep()


def test_a_file_that_is_not_closed_is_freed_at_last(
    settings: UploadSettings, directory: Path
) -> None:
    """As any file of Python's."""
    with spools_closed_at_the_end():
        spool = Spool(settings)
        spool.write(DATA)
        kept = spool.keep()
    assert open_files(directory) == 1
    del kept
    assert open_files(directory) == 0


@pytest.mark.parametrize("kept", [True, False])
def test_a_greenlet_of_a_flask_view(kept: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Flask closes a request's files itself; request.files gives what keeps one."""
    app = Flask(__name__)
    CooperativeUpload(app)
    answered = gevent.event.Event()
    results: list[Any] = []

    def go_on(file: Any) -> None:
        answered.wait()
        try:
            results.append(file.read())
            file.close()
        except ValueError as error:
            results.append(str(error))

    @app.post("/")
    def view() -> str:
        stream = request.files["file"].stream
        tasks.append(gevent.spawn(go_on, stream.keep() if kept else stream))  # type: ignore[attr-defined]
        return "accepted"

    tasks: list[Any] = []
    body = form(Part("file", DATA, "scan.tiff"))
    with hub_scheduler(), hub_writer():
        asked = environ(body, CONTENT_TYPE=FORM_TYPE)
        assert in_greenlet(lambda: wsgi.call(app, asked)).body == b"accepted"
        answered.set()
        join(*tasks)
    assert results == [DATA if kept else "I/O operation on closed file."]
    assert told(caplog) == ([] if kept else [TOLD.replace("\\n", "")])
