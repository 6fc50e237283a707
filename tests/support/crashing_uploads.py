"""A program that uploads, is killed at a random moment, and goes on; again and again.

    crashing_uploads.py FOLDER DATABASE CRASHES SEED

The process forks one that serves uploads of random sizes in random pieces, several at once, kills
it with SIGKILL, and forks the next, which has nothing but the folder and the database. What was
acknowledged is told through a pipe before the next request is made, as a client would hear it.
Each process first asks where every upload goes on; the last one is not killed, completes them all,
compares their SHA-256, removes them, and looks for what is left. Fails with what it found.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import hashlib  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from datetime import timedelta  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from sqlalchemy import create_engine, func, select  # noqa: E402

from cooperative_upload.body import CooperativeInput  # noqa: E402
from cooperative_upload.settings import UploadSettings  # noqa: E402
from cooperative_upload.storage import LocalStorage  # noqa: E402
from cooperative_upload.uploads import (  # noqa: E402
    Creation,
    Hooks,
    Limits,
    NotReadyYet,
    Upload,
    UploadService,
)
from cooperative_upload.uploads.schema import outbox, owners, uploads  # noqa: E402

# The parent must make no hub: its children would have a copy of it.
_fork = monkey.get_original("os", "fork")
_sleep = monkey.get_original("time", "sleep")

# A process is killed behind one of so many things that it tells, and some seconds later.
MOST_TOLD = 25
LATEST = 0.05

# How many clients there are at once.
CLIENTS = 4

SETTINGS = UploadSettings(
    upload_commit_bytes=64 * 1024, upload_sweep_seconds=0, small_body_bytes=0
)


@dataclass
class Known:
    """What the client of one upload knows.

    seed: of its bytes.
    acknowledged: bytes of which it was told that they are there.
    ready: whether it was told that the upload is.
    """

    id: str
    seed: int
    size: int
    acknowledged: int = 0
    ready: bool = False

    @property
    def data(self) -> bytes:
        return random.Random(self.seed).randbytes(self.size)


class Clients:
    """The clients of one process, and what they tell."""

    def __init__(self, service: UploadService, pipe: int, seed: int) -> None:
        self._service = service
        self._pipe = pipe
        self._random = random.Random(seed)

    def tell(self, kind: str, *what: Any) -> None:
        os.write(self._pipe, json.dumps([kind, *what]).encode() + b"\n")

    def go_on(self, known: Known) -> None:
        """Send what is missing, in pieces, of which some bodies break."""
        began = time.monotonic()
        while True:
            try:
                upload = self._service.settle(known.id)
                break
            except NotReadyYet:
                gevent.sleep(0.05)
        if time.monotonic() - began > 20:
            self.tell("wrong", known.id, "it was stuck for a while")
        if known.ready and not upload.ready:
            self.tell("wrong", known.id, "it was ready, and is not")
        if upload.offset < known.acknowledged:
            self.tell("wrong", known.id, known.acknowledged, upload.offset)
        while not upload.ready:
            upload = self._send(known, upload.offset)

    def _send(self, known: Known, offset: int) -> Upload:
        length = self._random.choice([1, 5_000, 80_000, 200_000])
        data = known.data[offset : offset + length]
        breaks = self._random.random() < 0.2
        body = CooperativeInput(io.BytesIO(data), len(data))
        if breaks and offset + len(data) < known.size:
            body = CooperativeInput(io.BytesIO(data), len(data) + 1)
        try:
            upload = self._service.append(known.id, offset, body)
        except OSError:  # a BodyError: all of it is there
            upload = self._service.settle(known.id)
            if upload.offset != offset + len(data):
                self.tell("wrong", known.id, "lost of a broken body", offset, len(data))
        self.tell("acknowledged", known.id, upload.offset, upload.ready)
        return upload

    def begin(self) -> None:
        """One more upload after the other."""
        while True:
            size = self._random.choice([0, 1, 1000, 100_000, 400_000])
            seed = self._random.getrandbits(32)
            creation = Creation("o", size=size, limits=Limits(owner_bytes=10**12))
            upload = self._service.create(creation)
            known = Known(upload.id, seed, size)
            self.tell("created", upload.id, seed, size)
            if size == 0:
                self._service.finish(upload.id)
                self.tell("acknowledged", upload.id, 0, True)
            else:
                self.go_on(known)


class Told:
    """Writes each event to a file, as an application's database would keep it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, event: str, upload: Upload) -> None:
        with self._path.open("a") as file:
            file.write(f"{event} {upload.id}\n")

    def events(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []


def new_service(folder: Path, database: str) -> tuple[UploadService, Told]:
    told = Told(folder / "told")
    hooks = Hooks(ready=lambda one: told("ready", one), removed=lambda one: told("removed", one))
    (folder / "objects").mkdir(exist_ok=True)
    storage = LocalStorage(folder / "objects", SETTINGS)
    return UploadService(storage, database, hooks=hooks, settings=SETTINGS), told


def serve(folder: Path, database: str, known: list[Known], pipe: int, seed: int) -> None:
    """Until it is killed."""
    service, _ = new_service(folder, database)
    clients = Clients(service, pipe, seed)
    clients.tell("began")
    running: list[Any] = [gevent.spawn(clients.go_on, one) for one in known if not one.ready]
    running += [gevent.spawn(clients.begin) for _ in range(CLIENTS)]
    gevent.joinall(running, raise_error=True)


def complete(folder: Path, database: str, known: list[Known], pipe: int, seed: int) -> None:
    """All of them, to the last byte; then nothing is to be left."""
    service, told = new_service(folder, database)
    clients = Clients(service, pipe, seed)
    for one in known:
        clients.go_on(one)
        with service.open(one.id) as content:
            found = hashlib.sha256(content.read()).digest()
        if found != hashlib.sha256(one.data).digest():
            clients.tell("wrong", one.id, "other bytes")
    service.sweep()
    events = told.events()
    for one in known:
        if f"ready {one.id}" not in events:
            clients.tell("wrong", one.id, "nobody was told")
        service.delete(one.id)
    # Of those whose creation nobody heard of there may be some.
    engine = create_engine(database.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        unheard = connection.scalars(select(uploads.c.id)).all()
    for id in unheard:
        service.delete(id)
    service.sweep()
    service._sweeper.remove_orphans(timedelta(0))
    for id in [*(one.id for one in known), *unheard]:
        if f"removed {id}" not in told.events():
            clients.tell("wrong", id, "nobody was told of its removal")
    left = [str(path) for path in (folder / "objects").rglob("*") if path.is_file()]
    with engine.connect() as connection:
        counts = {
            table.name: connection.scalar(select(func.count()).select_from(table))
            for table in (uploads, outbox)
        }
        left += [name for name, count in counts.items() if count]
        if any(connection.scalars(select(owners.c.bytes + owners.c.uploads))):
            left.append("an account that is not empty")
    if left:
        clients.tell("wrong", "left", *left)
    service.close()


def forked(work: Any, *arguments: Any) -> tuple[int, int]:
    """(its number, what it tells) of a process that does that and ends."""
    reading, writing = os.pipe()
    child = _fork()
    if child:
        os.close(writing)
        return child, reading
    status = 1
    try:
        os.close(reading)
        work(*arguments[:3], writing, *arguments[3:])
        status = 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(status)


class Heard:
    """What the clients were told, in all processes."""

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}
        self.wrong: list[Any] = []

    def take(self, line: bytes) -> None:
        kind, *what = json.loads(line)
        if kind == "created":
            id, seed, size = what
            self.known[id] = Known(id, seed, size)
        elif kind == "acknowledged":
            id, offset, ready = what
            self.known[id].acknowledged, self.known[id].ready = offset, ready
        elif kind == "wrong":
            self.wrong.append(what)


def main(folder: Path, database: str, crashes: int, seed: int) -> None:
    chance = random.Random(seed)
    heard = Heard()
    failed = 0
    for number in range(crashes):
        known = list(heard.known.values())
        child, pipe = forked(serve, folder, database, known, seed * 1_000_003 + number)
        with open(pipe, "rb") as lines:
            for _ in range(chance.randint(1, MOST_TOLD)):
                heard.take(lines.readline() or b'["wrong", "it ended by itself"]')
            _sleep(chance.uniform(0, LATEST))
            os.kill(child, signal.SIGKILL)
            for line in lines:
                heard.take(line)
        _, status = os.waitpid(child, 0)
        failed += not os.WIFSIGNALED(status)
    child, pipe = forked(complete, folder, database, list(heard.known.values()), seed)
    with open(pipe, "rb") as lines:
        for line in lines:
            heard.take(line)
    _, status = os.waitpid(child, 0)
    report = {"uploads": len(heard.known), "wrong": heard.wrong, "failed": failed + bool(status)}
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
