"""A process that makes one request for an upload of DATA.

    upload_process.py FOLDER DATABASE ID OFFSET STOP [LENGTH]

It says "ready", waits for a line, and then appends the bytes from OFFSET to STOP; of a body that
announces LENGTH bytes, if that is given, of which the rest never comes: it says "hangs". At last
it says how its request ended.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import gevent  # noqa: E402
from upload_services import DATA  # noqa: E402

from cooperative_upload.body import CooperativeInput  # noqa: E402
from cooperative_upload.settings import UploadSettings  # noqa: E402
from cooperative_upload.storage import LocalStorage  # noqa: E402
from cooperative_upload.uploads import UploadService  # noqa: E402


class Source:
    """The bytes, and then nothing for ever."""

    read_ahead = 0
    most_pending = 0

    def __init__(self, data: bytes) -> None:
        self._data = data

    def receive(self, size: int) -> bytes:
        if not self._data:
            print("hangs", flush=True)
            gevent.sleep(1000)
        block, self._data = self._data[:size], self._data[size:]
        return block

    receive_line = receive


def main() -> None:
    folder, database, id, offset, stop, *length = sys.argv[1:]
    settings = UploadSettings(upload_sweep_seconds=0)
    service = UploadService(LocalStorage(folder, settings), database, settings=settings)
    service.status(id)
    print("ready", flush=True)
    sys.stdin.readline()
    data = DATA[int(offset) : int(stop)]
    body = CooperativeInput(Source(data), int(length[0]) if length else len(data))
    try:
        upload = service.append(id, int(offset), body)
        print(upload.state.value, upload.offset, flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)


if __name__ == "__main__":
    gevent.spawn(main).get()
