"""A store in memory for what remote storages share, whose answers can be held up or fail."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping

import gevent

from cooperative_upload.errors import AlreadyStored
from cooperative_upload.storage.contract import Description, Stored, Token
from cooperative_upload.storage.part_buffer import PartBuffer
from cooperative_upload.storage.parts import PartLimits, Parts
from cooperative_upload.storage.piece_writer import Piece


def content_of(buffer: PartBuffer) -> bytes:
    """All of a sealed buffer, as a client sends it."""
    reader = buffer.reader()
    return b"".join(iter(lambda: reader.read(100), b""))


def nothing(piece: Piece) -> None:
    """What a store does that answers at once."""


class StoreInMemory:
    """part_bytes: of each part.

    when_sent: called while a piece is on its way.
    """

    limits = PartLimits(smallest=1, largest=1 << 30, most=1000, object_bytes=1 << 40)
    part_digests: tuple[str, ...] = ("sha-256",)

    def __init__(self, part_bytes: int, when_sent: Callable[[Piece], object] = nothing) -> None:
        self._part_bytes = part_bytes
        self._when_sent = when_sent
        self.objects: dict[str, bytes] = {}
        self.writings: dict[int, dict[int, bytes]] = {}
        self.begun = 0
        self.sending = 0
        self.most_sending = 0

    def parts_of(self, size: int | None) -> Parts:
        return Parts(self._part_bytes)

    def put(
        self,
        key: str,
        content: PartBuffer,
        description: Description,
        overwrite: bool,
        digests: Mapping[str, bytes],
    ) -> Stored:
        content.seal()
        return self._appear(key, content_of(content), overwrite)

    def begin(self, key: str, *, size: int | None, description: Description) -> Token:
        self.begun += 1
        number = self.begun
        gevent.sleep(0)
        self.writings[number] = {}
        return {"key": key, "number": number}

    def send(self, token: Token, piece: Piece) -> None:
        self.sending += 1
        self.most_sending = max(self.sending, self.most_sending)
        try:
            piece.content.seal()
            self._when_sent(piece)
            self.writings[token["number"]][piece.start] = content_of(piece.content)
        finally:
            self.sending -= 1

    def commit(
        self, token: Token, size: int, *, overwrite: bool, digests: Mapping[str, bytes] | None
    ) -> Stored:
        pieces = self.writings[token["number"]]
        stored = self._appear(
            token["key"], b"".join(pieces[at] for at in sorted(pieces)), overwrite
        )
        del self.writings[token["number"]]
        return stored

    def abort(self, token: Token) -> None:
        self.writings.pop(token["number"], None)

    def _appear(self, key: str, content: bytes, overwrite: bool) -> Stored:
        if key in self.objects and not overwrite:
            raise AlreadyStored(key)
        self.objects[key] = content
        return Stored(key, len(content), datetime.datetime.now(datetime.timezone.utc))
