"""Appending: what a request brings, checked against the record, stored, committed.

Both ways are here: where the upload goes on, by one holder; and anywhere, by several at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..errors import NotStored
from ..forms import ALGORITHMS, Hashing
from ..monitoring import count
from ..settings import UploadSettings
from ..spool import Spool
from ..storage import Ranges, Storage
from .finishing import Finishing
from .hooks import Hooks
from .leases import Holding, Leases
from .receiving import Receiving, blocks_of, with_head
from .record import (
    State,
    Step,
    Upload,
    check_end,
    check_last,
    checking,
    ends_here,
    let_go,
    taken,
    with_bytes,
)
from .refusals import (
    ChecksumMismatch,
    NotAppendable,
    RefusedUpload,
    Superseded,
    UnknownChecksum,
    UploadGone,
    UploadRefusal,
    WrongOffset,
)
from .registry import Registry

Checksum = tuple[str, bytes]


class Appending:
    """Adds bytes to uploads."""

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        leases: Leases,
        finishing: Finishing,
        hooks: Hooks,
        settings: UploadSettings,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._leases = leases
        self._finishing = finishing
        self._hooks = hooks
        self._settings = settings

    def append(
        self,
        id: str,
        offset: int,
        body: Any,
        last: bool | None,
        checksum: Checksum | Callable[[], Checksum] | None,
        owner: str | None,
    ) -> Upload:
        """Add where it goes on, by taking it over."""
        if isinstance(checksum, tuple):
            _check_known(checksum[0])
        length = length_of(body)
        try:
            upload = self._take(id, offset, length, last, owner)
        except NotAppendable:
            if self._is_finished_again(id, body):
                return self._finishing.finish(id)
            raise
        with self._leases.held(upload) as holding, self._let_go_if_it_fails(upload):
            blocks = holding.receive(blocks_of(body))
            if checksum is None:
                stored = self._store(upload, offset, holding, blocks, last)
            else:
                with self._staged(upload, offset, blocks, checksum) as staged:
                    stored = self._store(upload, offset, holding, staged, last)
        return self._finishing.finish(id) if stored.state is State.CHECKING else stored

    def write(self, upload: Upload, start: int, body: Any) -> Upload:
        """Add anywhere, holding nothing."""
        if upload.state is not State.OPEN:
            return upload
        check_end(upload, start + (length_of(body) or 0))
        mine = self._leases.mine
        elected = False

        def complete(now: Upload) -> Upload:
            nonlocal elected
            if now.state is not State.OPEN or not now.has_all_bytes:
                return now
            elected = True
            return checking(now, mine)

        with self._receiving(upload, start) as receiving:
            self._receive(upload, receiving, None, self._seen(upload, start, blocks_of(body)))
            came = Ranges.of([(start, receiving.position)])
            if again := came.total + upload.received.total - (came | upload.received).total:
                count("bytes_again", again)
            stored = self._commit(upload, receiving.finish(), complete)
        return self._finishing.finish(upload.id) if elected else stored

    def _take(
        self, id: str, offset: int, length: int | None, last: bool | None, owner: str | None
    ) -> Upload:
        mine = self._leases.mine

        def step(now: Upload) -> Upload:
            return taken(now, mine, offset, length, last)

        try:
            return self._registry.change(id, step, owner, durable=False)
        except WrongOffset as error:
            if offset < error.expected:
                raise
        # The client may speak of bytes that whoever still writes has not committed yet.
        self._leases.settle(self._registry.find(id))
        return self._registry.change(id, step, durable=False)

    def _is_finished_again(self, id: str, body: Any) -> bool:
        """Whether nothing is to be added to an upload that has its own bytes, all of them."""
        upload = self._registry.find(id)
        return not upload.parts and next(blocks_of(body), b"") == b""

    @contextlib.contextmanager
    def _let_go_if_it_fails(self, upload: Upload) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if isinstance(error, Superseded):
                count("uploads_superseded")
            with contextlib.suppress(UploadRefusal):
                self._registry.change(upload.id, partial(_let_go_of, upload), durable=False)
            raise

    def _store(
        self,
        upload: Upload,
        offset: int,
        holding: Holding,
        blocks: Iterator[bytes],
        last: bool | None,
    ) -> Upload:
        with self._receiving(upload, offset) as receiving:
            self._receive(upload, receiving, holding, self._seen(upload, offset, blocks))
            end = receiving.position
            if last and upload.size not in (None, end):
                self._keep(upload, receiving, holding)
                check_last(upload, end, last)
            complete = ends_here(upload, end, last)
            then = partial(checking, holder=self._leases.mine) if complete else let_go
            return self._commit(upload, receiving.finish(), then)

    def _receive(
        self,
        upload: Upload,
        receiving: Receiving,
        holding: Holding | None,
        blocks: Iterator[bytes],
    ) -> None:
        """Store what comes; what had come is kept, whatever ends it."""
        try:
            for block in blocks:
                check_end(upload, receiving.position + len(block))
                receiving.write(block)
        except RefusedUpload:
            raise  # its bytes are dropped
        except BaseException:
            self._keep(upload, receiving, holding)
            raise

    def _keep(self, upload: Upload, receiving: Receiving, holding: Holding | None) -> None:
        if receiving.failed or (holding is not None and holding.superseded):
            return
        self._commit(upload, receiving.finish(), _as_it_is)

    def _commit(self, upload: Upload, ranges: Ranges, then: Step) -> Upload:
        expires = time.time() + self._settings.upload_expire_seconds

        def step(now: Upload) -> Upload:
            return then(with_bytes(now, upload.generation, ranges, expires))

        return self._registry.change(upload.id, step)

    @contextlib.contextmanager
    def _receiving(self, upload: Upload, start: int) -> Iterator[Receiving]:
        assert upload.token is not None

        def commit(ranges: Ranges) -> Upload:
            return self._commit(upload, ranges, _as_it_is)

        try:
            with contextlib.closing(
                Receiving(self._storage, upload.token, start, commit, self._settings)
            ) as receiving:
                yield receiving
        except NotStored as error:
            raise UploadGone() from error

    def _seen(self, upload: Upload, start: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The blocks, of which the application has seen the first bytes of the whole."""
        hook = self._hooks.first_bytes
        if start or hook is None or upload.partial:
            return blocks

        def look(head: bytes) -> None:
            try:
                hook(upload, head)
            except RefusedUpload as refusal:
                detail = str(refusal.description)
                self._finishing.refuse(upload, refusal.code or 422, detail, upload.generation)
                raise

        return with_head(blocks, look)

    @contextlib.contextmanager
    def _staged(
        self,
        upload: Upload,
        offset: int,
        blocks: Iterator[bytes],
        checksum: Checksum | Callable[[], Checksum],
    ) -> Iterator[Iterator[bytes]]:
        """The blocks again, after all have come and add up.

        They wait in a temporary file: what does not add up must not reach the storage, where the
        right bytes, sent again, would have to replace it.
        """
        with Spool(self._settings) as spool:
            end = offset
            for block in blocks:
                end += len(block)
                check_end(upload, end)
                spool.write(block)
            algorithm, announced = checksum if isinstance(checksum, tuple) else checksum()
            _check_known(algorithm)
            spool.seek(0)
            hashing = Hashing([algorithm], self._settings)
            for block in spool.blocks():
                hashing.update(block)
            computed = hashing.finished().values()[algorithm]
            if computed != announced:
                raise ChecksumMismatch(algorithm, announced, computed)
            spool.seek(0)
            yield spool.blocks()


def length_of(body: Any) -> int | None:
    """Bytes of a body, as far as they are announced."""
    length: int | None = getattr(body, "content_length", None)
    return length


def _check_known(algorithm: str) -> None:
    if algorithm not in ALGORITHMS:
        raise UnknownChecksum(algorithm, tuple(ALGORITHMS))


def _as_it_is(upload: Upload) -> Upload:
    return upload


def _let_go_of(held: Upload, now: Upload) -> Upload:
    return let_go(now) if now.generation == held.generation else now
