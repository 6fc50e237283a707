"""Spools end with the request that made them."""

from __future__ import annotations

import threading
from pathlib import Path

import gevent
import pytest
from disk import busy_disk, open_files
from greenlets import hub_scheduler, hub_writer, in_greenlet, running, wait_until
from spools import BATCH, MEMORY, Run

from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.request_spools import spools_of_request
from cooperative_upload.spool.temporary_file import Spool, spools_closed_at_the_end


def test_spools_end_with_their_request(settings: UploadSettings, directory: Path) -> None:
    """All that its greenlet made; those of a greenlet that it spawned, which may go on, do not."""
    spools: list[Spool] = []

    def make() -> None:
        spool = Spool(settings)
        spool.write(bytes(MEMORY + 1))
        spools.append(spool)

    def request() -> None:
        with spools_closed_at_the_end():
            make()
            make()
            gevent.spawn(make).join()
            assert [spool.closed for spool in spools] == [False] * 3
            assert open_files(directory) == 3
        assert [spool.closed for spool in spools] == [True, True, False]

    with hub_scheduler(), hub_writer():
        in_greenlet(request)
        wait_until(lambda: open_files(directory) == 1)
        spools[2].close()


@pytest.mark.parametrize("error", [ValueError, gevent.GreenletExit, OSError])
def test_spools_end_with_a_failed_request(
    run: Run, settings: UploadSettings, directory: Path, error: type[BaseException]
) -> None:
    """At once, and not when the garbage collector finds the cycle through the traceback."""
    kept = []

    def request() -> None:
        with spools_closed_at_the_end():
            spool = Spool(settings)
            spool.write(bytes(MEMORY + 1))
            kept.append(spool)
            raise error("failed")

    with pytest.raises(error):
        run(request)
    assert kept[0].closed
    wait_until(lambda: open_files(directory) == 0)


def test_spools_end_with_a_killed_request(settings: UploadSettings, directory: Path) -> None:
    """Killed while it waits for the disk: its spool is closed as soon as the disk lets go."""
    with hub_scheduler(), hub_writer():
        spool = Spool(settings)
        in_greenlet(spool.rollover)

    def request() -> None:
        with spools_closed_at_the_end():
            of_request = spools_of_request.get()
            assert of_request is not None
            assert of_request.open == set()
            of_request.open.add(spool)  # made before the disk was busy
            while True:
                spool.write(bytes(BATCH))

    with hub_scheduler(), busy_disk(settings) as released:
        uploader = gevent.spawn(request)
        wait_until(lambda: spool._batches._in_flight is not None and spool._batches._blocks)
        uploader.kill()
        assert spool.closed
        assert open_files(directory) == 1  # the write is still queued
        released.set()
        wait_until(lambda: open_files(directory) == 0)


def test_other_requests_keep_theirs(settings: UploadSettings) -> None:
    """Each request ends its own, wherever their greenlets take turns."""
    ends = {"a": threading.Event(), "b": threading.Event()}
    spools = {}

    def request(name: str) -> None:
        with spools_closed_at_the_end():
            spools[name] = Spool(settings)
            while not ends[name].is_set():
                gevent.sleep(0)

    with running(lambda: request("a"), lambda: request("b")):
        wait_until(lambda: len(spools) == 2)
        ends["a"].set()
        wait_until(lambda: spools["a"].closed)
        assert not spools["b"].closed
        ends["b"].set()
        wait_until(lambda: spools["b"].closed)


def test_a_spool_of_no_request_is_its_makers(settings: UploadSettings) -> None:
    """Outside of a request nothing closes it."""
    with spools_closed_at_the_end():
        pass
    spool = Spool(settings)
    with spools_closed_at_the_end():
        pass
    assert not spool.closed
    spool.close()


def test_a_closed_spool_is_not_kept(settings: UploadSettings) -> None:
    """A request with many parts does not collect those that are done with."""
    with spools_closed_at_the_end() as spools:
        for _ in range(3):
            Spool(settings).close()
        assert spools.open == set()
