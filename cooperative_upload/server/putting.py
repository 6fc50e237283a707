"""`put`: files one after the other, each whole or in a state from which `--resume` goes on."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import StorageRefused
from ..storage import Description, Storage, Stored
from .amounts import show_duration, show_rate, show_size
from .destinations import STDIN, Destination, NoDestination, destinations
from .interrupting import Interrupted
from .kept_writings import kept_writing
from .local_files import LocalFile, content_type, open_local
from .opening import Opening
from .sending import Order, drop, send_in_one_go, send_resumably
from .sentences import EXPECTED, sentence_of, status_of
from .telling import Teller, teller

# Bytes up to which a file goes in one go: an upload of one part, which is soon sent again.
ONE_GO = 8 * 1024 * 1024


@dataclass(frozen=True)
class PutOptions:
    """What was said on the command line; each is an option of put."""

    resume: bool = False
    overwrite: bool = False
    all_or_nothing: bool = False
    content_type: str | None = None
    public: bool = False
    quiet: bool = False


def put_all(files: Sequence[str], url: str, opening: Opening, options: PutOptions) -> int:
    """Send all files that can be sent; the exit status is that of the first failure.

    Raises what is wrong with the command as a whole.
    """
    found = destinations(files, url)
    if options.public and not url.startswith("s3://"):
        raise NoDestination(
            "--public is of S3: a folder has none, and a container of Swift is public as a whole "
            "(swift post --read-acl .r:* CONTAINER)."
        )
    status = 0
    with teller([_size(file) for file in files], quiet=options.quiet) as tell:
        for file, destination in zip(files, found, strict=True):
            failure = _Put(file, destination, opening, options, tell).run()
            if failure is None:
                continue
            tell.stored()
            status = status or status_of(failure)
            if isinstance(failure, (Interrupted, StorageRefused)):
                break  # the next file would fare no better
    return status


def _size(file: str) -> int | None:
    """For the bar of all files; None where it can't be known, which is said later."""
    with contextlib.suppress(OSError):
        found = os.stat(file)
        return found.st_size if file != STDIN and stat.S_ISREG(found.st_mode) else None
    return None


class _Put:
    def __init__(
        self,
        file: str,
        destination: Destination,
        opening: Opening,
        options: PutOptions,
        tell: Teller,
    ) -> None:
        self._file, self._destination = file, destination
        self._opening, self._options, self._tell = opening, options, tell
        self._can_go_on = False

    def run(self) -> BaseException | None:
        """What went wrong, of which the person at the terminal knows then."""
        began = time.monotonic()
        try:
            storage = self._opening.storage(self._destination)
            with open_local(self._file) as local:
                stored = self._send(storage, local)
        except (*EXPECTED, Interrupted) as error:
            self._tell.say(f"cooperative-upload: {sentence_of(error, self._destination.url)}")
            if self._can_go_on:
                self._tell.say(f"To go on: {self._command_to_go_on()}")
            return error
        self._tell.stored()
        if not self._options.quiet:
            print(self._told(stored, time.monotonic() - began), flush=True)
            if self._options.public:
                print(storage.sign(self._destination.key).partition("?")[0], flush=True)
        return None

    def _send(self, storage: Storage, local: LocalFile) -> Stored:
        kind = self._options.content_type or content_type(self._destination.key)
        description = Description(content_type=kind, public=self._options.public)
        order = Order(self._destination.key, description, self._options.overwrite)
        if local.version is None or local.version.size <= ONE_GO:
            return send_in_one_go(storage, local, order, self._tell)
        with kept_writing(_folder(), self._file, self._destination.url) as kept:
            if not self._options.resume:
                drop(storage, kept)
            if self._options.all_or_nothing:
                return send_in_one_go(storage, local, order, self._tell)
            try:
                return send_resumably(storage, local, local.version, order, kept, self._tell)
            finally:
                self._can_go_on = kept.read() is not None

    def _command_to_go_on(self) -> str:
        words = ["cooperative-upload", "put", "--resume", *self._opening.words()]
        if self._options.overwrite:
            words.append("--overwrite")
        if self._options.public:
            words.append("--public")
        if self._options.content_type:
            words += ["--content-type", self._options.content_type]
        return shlex.join([*words, self._file, self._destination.url])

    def _told(self, stored: Stored, seconds: float) -> str:
        etag = f"  ETag {stored.etag}" if stored.etag else ""
        return (
            f"{self._destination.url}  {show_size(stored.size)} in {show_duration(seconds)} "
            f"({show_rate(stored.size, seconds)}){etag}"
        )


def _folder() -> Path:
    import platformdirs

    return platformdirs.user_state_path("cooperative-upload") / "put"
