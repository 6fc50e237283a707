"""Others run while a spool waits for its disk."""

from __future__ import annotations

import gevent
from disk import busy_disk
from greenlets import FOREVER, hub_scheduler, hub_writer, in_greenlet, join, spinning, wait_until
from spools import BATCH, content

from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool import temporary_file as spool_module
from cooperative_upload.spool.temporary_file import Spool


def test_a_slow_disk_stops_this_upload_alone(settings: UploadSettings) -> None:
    """One batch in flight, one collected: then the writer waits, and the loop goes on."""
    with hub_scheduler(FOREVER) as scheduler, hub_writer():
        spool = Spool(settings)
        in_greenlet(spool.rollover)
    with hub_scheduler(FOREVER) as scheduler, busy_disk(settings) as released:
        wrote = []

        def upload() -> None:
            for number in range(6):
                spool.write(bytes(BATCH))
                wrote.append(number)
            spool.seek(0)  # waits for the last batch, and takes a turn again
            assert scheduler.has_turn
            assert len(spool.read()) == 6 * BATCH
            assert scheduler.has_turn

        uploader = gevent.spawn(upload)
        with spinning() as rounds:
            wait_until(lambda: rounds.value > 500)
        assert not uploader.ready()
        assert len(wrote) <= 2
        in_greenlet(scheduler.checkpoint)  # its turn is free for others
        released.set()
        join(uploader)
        spool.close()


def test_making_the_file_is_a_wait(settings: UploadSettings) -> None:
    """Whoever waited for the disk to make it takes a turn again before it goes on."""
    with hub_scheduler(FOREVER) as scheduler, hub_writer(), Spool(settings) as spool:

        def roll_over() -> bool:
            scheduler.checkpoint()
            spool.rollover()
            return scheduler.has_turn

        assert in_greenlet(roll_over)


def test_others_run_while_it_is_read(settings: UploadSettings) -> None:
    """A turn for each window of a large read from disk."""
    with hub_scheduler() as scheduler, hub_writer(), Spool(settings) as spool:
        data = content(20 * spool_module._WINDOW_BYTES)
        in_greenlet(lambda: (spool.write(data), spool.seek(0)))
        before = scheduler.statistics().turns
        assert in_greenlet(spool.read) == data
        assert scheduler.statistics().turns - before >= 20


def test_a_killed_writer_loses_nothing_that_it_wrote(settings: UploadSettings) -> None:
    """A greenlet that is killed in write() leaves a spool that others can go on with."""
    with hub_scheduler(), hub_writer():
        spool = Spool(settings)
        in_greenlet(spool.rollover)
    with hub_scheduler(), busy_disk(settings) as released:

        def upload() -> None:
            for _ in range(10):
                spool.write(bytes(BATCH))

        uploader = gevent.spawn(upload)
        wait_until(lambda: spool._batches._in_flight is not None and spool._batches._blocks)
        size = spool.tell()
        uploader.kill()
        released.set()
        assert in_greenlet(lambda: (spool.seek(0), len(spool.read()))[1]) == size
        spool.close()
