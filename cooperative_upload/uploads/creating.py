"""Creating: an upload's row and its writing in the storage, checked and reserved before a byte."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import RequestError
from ..forms import ALGORITHMS
from ..settings import UploadSettings
from ..storage import Description, Ranges, Storage
from .record import Limits, State, Upload, made_part, whole_of
from .refusals import MetadataTooLarge, NotConcatenable
from .registry import Registry

# 144 bits: nobody guesses one, and four letters for three bytes come out even.
_ID_BYTES = 18

# Name, type and metadata together, as JSON: far above what headers of a request can hold by
# default (gunicorn: 8,190 bytes each), and little for a row.
_MOST_METADATA = 64 * 1024

# Uploads that may become one: S3's number of parts.
_MOST_PARTS = 10_000

_log = logging.getLogger("cooperative_upload")


@dataclass(frozen=True)
class Creation:
    """What is asked for when an upload begins.

    owner: whose it is; any text that the application's authorize gave.
    size: bytes of the whole; None if the client does not know it yet.
    name, content_type, metadata: as the client gave them, in Unicode.
    digests: that the whole has to have, by their names in RFC 9530. What can't be computed here
        is passed over.
    partial: whether it is to become part of another one: it has no hooks of its own.
    alias: an id of the client's choice, unique among those of the owner; a second creation with
        it finds the first upload.
    limits: what the owner may have.
    """

    owner: str
    size: int | None = None
    name: str | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, bytes] = field(default_factory=dict)
    partial: bool = False
    alias: str | None = None
    limits: Limits = field(default_factory=Limits)


def new_upload(
    creation: Creation, key: Callable[[Creation, str], str], expires_in: float
) -> Upload:
    """The record of it, as it begins. Raises what of the creation can be refused at once.

    key: gives the object's key of an id.
    """
    if creation.size is not None:
        creation.limits.check_size(creation.size)
    if not creation.partial:  # clients tell the type of the whole alone
        creation.limits.check_type(creation.content_type)
    metadata = {_text(name): _text(value) for name, value in creation.metadata.items()}
    texts = [creation.name, creation.content_type, creation.alias, metadata]
    size = len(json.dumps(texts, ensure_ascii=False).encode("utf-8", "replace"))
    if size > _MOST_METADATA:
        raise MetadataTooLarge(_MOST_METADATA, size)
    id, now = secrets.token_urlsafe(_ID_BYTES), time.time()
    return Upload(
        id=id,
        owner=creation.owner,
        state=State.OPEN,
        size=creation.size,
        received=Ranges(),
        name=None if creation.name is None else _text(creation.name),
        content_type=None if creation.content_type is None else _text(creation.content_type),
        metadata=metadata,
        key=key(creation, id),
        created=now,
        expires=now + expires_in,
        partial=creation.partial,
        alias=creation.alias,
        digests={name: d for name, d in creation.digests.items() if name in ALGORITHMS},
        limits=creation.limits,
    )


def _text(text: str) -> str:
    """As every database keeps it: PostgreSQL takes no NUL, and nobody half of a pair (UTF-16)."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class Creating:
    """Begins uploads."""

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        key: Callable[[Creation, str], str],
        settings: UploadSettings,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._key = key
        self._settings = settings

    def create(self, creation: Creation) -> Upload:
        """Begin one, or find the one of that alias."""
        if creation.alias is not None:
            earlier = self._registry.by_alias(creation.owner, creation.alias)
            if earlier is not None:
                return earlier
        upload = self._new(creation)
        # Asked before the storage is, so that what is refused costs it nothing. It decides again
        # when it is reserved.
        self._registry.check_account(upload)
        description = Description(upload.content_type)
        token = self._storage.begin(upload.key, size=upload.size, description=description)
        begun = replace(upload, token=token)
        try:
            added = self._registry.add(begun)
        except RequestError:
            self._storage.abort(token)
            raise
        if added.id != begun.id:
            self._storage.abort(token)
        return added

    def concatenate(self, creation: Creation, parts: Sequence[str]) -> Upload:
        """Make one of others."""
        if not 0 < len(set(parts)) == len(parts) <= _MOST_PARTS:
            raise NotConcatenable(
                f"An upload is made of 1 to {_MOST_PARTS:,} others, each of them once."
            )
        upload = replace(self._new(creation), partial=False)

        def make(found: list[Upload]) -> Upload:
            for part in found:
                made_part(part, upload.owner, upload.id)
            return whole_of(upload, found)

        return self._registry.add_whole(upload, parts, make)

    def _new(self, creation: Creation) -> Upload:
        return new_upload(creation, self._key, self._settings.upload_expire_seconds)
