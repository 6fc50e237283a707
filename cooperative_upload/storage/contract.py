"""What a storage is: its verbs, and the duties of whoever implements them.

A key names an object: text with slashes, as in S3. An object is there whole or not at all, and
appears in one moment. There are two ways to make one:

* **A deposit** holds what one request brings, from its beginning to its end. It is committed by
  whoever made it, or nothing is left: it does not outlive its process.
* **A writing** outlives requests, processes and machines. `begin` gives a token, which is plain
  data (what json.dumps takes) and is kept by the caller; whoever has it goes on, on any machine
  that reaches the storage. After any single step, also one that was cut in its middle, a new
  process that has nothing but the token can go on, commit or abort.

The duties of every storage:

1. **It never holds the loop.** Each call may wait, unless it says that it never does; while it
   waits, others run. What blocks is done by threads (turns/writer.py) or by gevent's own waiting.
   Sending and receiving takes turns. Outside of a hub the calls simply block.
2. **Memory is a budget.** What a deposit or a range writer holds is within
   `storage_memory_bytes` for all of a worker; past it, it lies in unnamed files.
3. **Nothing is committed by leaving a block**, by the garbage collector or by the end of a
   process; commit() alone does.
4. **Again is harmless.** begin excepted, each call may be made once more with the same arguments
   and gives the same result: the client, or the process, did not hear the answer.
5. **What was told durable stays**, until commit or abort: through kill -9, and with the defaults
   through a loss of power. What was not told may be gone, and is never wrong.
6. **Errors are those of errors.py**: AlreadyStored and NotStored are for who chose the key, the
   StorageErrors say that the storage is full, out of reach or set up wrongly. A transient fault is
   tried again first, for `storage_retry_seconds` in all, and no byte is wrong because a first try
   half succeeded. A failed deposit or writer stays failed.
7. **Keys are checked**: a key that would leave the storage's folder or prefix, that is empty, or
   that the storage could not give back as it is, is an UnsafePath before anything is done.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..forms import Destination, StreamFactory
from .ranges import Ranges

Token = Mapping[str, Any]
"""A writing that was begun, as plain data; its "key" is the object's, the rest the storage's."""


@dataclass(frozen=True)
class Description:
    """What is said of an object when it is made.

    content_type: its media type; None for the storage's default.
    metadata: names (lower case, letters, digits and dashes) and texts, in Unicode; S3 and
        Swift keep about 2 KiB of them.
    public: whether everybody may read it, where the storage has that for single objects (S3). A
        folder, and a container of Swift, say it for all that is in them.
    """

    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    public: bool = False


UNDESCRIBED = Description()
"""Of an object of which nothing is said."""


@dataclass(frozen=True)
class Stored:
    """An object that is there.

    size: bytes.
    modified: when it appeared, with a time zone.
    etag: what the storage has for telling two versions apart; None if it has nothing.
    digests: by their names in RFC 9530, as far as the storage itself computed them of the whole.
    """

    key: str
    size: int
    modified: datetime.datetime
    etag: str | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, bytes] = field(default_factory=dict)


class Deposit(Protocol):
    """The content of one object, written from its beginning to its end; then commit or close.

    As a context manager it closes at the end of its block.
    """

    def write(self, block: bytes, /) -> object:
        """Add the next bytes. Keeps a bytes object by reference.

        It waits for the storage where that is slower than the client.
        """

    def commit(
        self, *, overwrite: bool = False, digests: Mapping[str, bytes] | None = None
    ) -> Stored:
        """Have the object appear, whole. Again gives the same.

        overwrite: whether it may take the place of one that has its key.
        digests: of the whole content, by their names in RFC 9530, as computed on the way. What the
            storage can check of them it does.
        Raises AlreadyStored where there is one and it may not be replaced; nothing is left then.
        """

    def close(self) -> None:
        """Drop what was not committed. Never waits; may be called again."""

    def __enter__(self) -> Deposit: ...
    def __exit__(self, *failure: object) -> None: ...


class RangeWriter(Protocol):
    """Bytes of a writing, one after the other from an offset on.

    As a context manager it closes at the end of its block. Several may be at work on one writing,
    also in other processes; where they write the same bytes these are equal, or the caller is at
    fault.
    """

    def write(self, block: bytes, /) -> object:
        """Add the next bytes; as for a deposit."""

    def finish(self) -> Ranges:
        """Make all that was written durable, wherever it begins and ends. Again is harmless.

        Returns what of the range that was written is durable: all of it.
        """

    def close(self) -> None:
        """Drop what is not durable yet. Never waits; may be called again.

        What had become durable on the way stays, and durable() tells it.
        """

    def __enter__(self) -> RangeWriter: ...
    def __exit__(self, *failure: object) -> None: ...


class Content(Protocol):
    """Bytes of an object, to be read from their beginning to their end.

    size: how many they are.
    As a context manager it closes at the end of its block.
    """

    size: int

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; fewer than `size` only at the end. What is cut off is a StorageError."""

    def blocks(self) -> Iterator[bytes]:
        """What is left, as it comes."""

    def close(self) -> None:
        """Free the connection or the descriptor. Never waits; may be called again."""

    def __enter__(self) -> Content: ...
    def __exit__(self, *failure: object) -> None: ...


class Storage(Protocol):
    """Where objects are kept. One is made for each process and shared by all its greenlets.

    object() and form_files() are made of the others: who derives from StorageObjects has them.
    """

    def deposit(
        self, key: str, *, size: int | None = None, description: Description = UNDESCRIBED
    ) -> Deposit:
        """For content that one request brings.

        size: bytes, where they are known; other than so many is a ValueError at the commit.
        """

    def begin(
        self, key: str, *, size: int | None = None, description: Description = UNDESCRIBED
    ) -> Token:
        """Begin a writing. Reserves room where the storage can and the size is known.

        Raises AlreadyStored only if it costs nothing to know; commit() decides.
        """

    def writer(self, token: Token, offset: int) -> RangeWriter:
        """For the bytes of a writing from `offset` on, in any order.

        Raises NotStored for a writing that was committed, aborted or has expired; here or when
        the storage first comes to know.
        """

    def durable(self, token: Token) -> Ranges:
        """Which bytes of a writing would be there if the machine stopped now. Changes nothing."""

    def commit(
        self,
        token: Token,
        size: int,
        *,
        overwrite: bool = False,
        digests: Mapping[str, bytes] | None = None,
    ) -> Stored:
        """Have the object of a writing appear; as for a deposit.

        size: bytes of the whole. Raises ValueError if not all of these are durable.
        After a commit of the same token that succeeded: what that returned, as long as the object
        is there as it was made.
        """

    def abort(self, token: Token) -> None:
        """End a writing, and leave nothing of it. One that has ended is left alone."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Content:
        """Bytes `start` to before `stop` of an object. Raises NotStored.

        A range that begins behind the end is empty, one that ends behind it ends there.
        """

    def stat(self, key: str) -> Stored:
        """What is known of an object. Raises NotStored."""

    def delete(self, key: str) -> None:
        """Take an object away. One that is not there is left alone."""

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Objects whose keys begin so, in the order of their keys; writings are none.

        What listing does not tell (content type, metadata, digests) is left out.
        """

    def sign(
        self,
        key: str,
        method: Literal["GET", "PUT"] = "GET",
        *,
        seconds: float = 3600.0,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """A URL with which anybody may do that one thing for so long.

        headers: what a PUT has to bring, in these words.
        Raises NotImplementedError where the storage has no such URLs.
        """

    def object(
        self, key: str, *, overwrite: bool = False, description: Description = UNDESCRIBED
    ) -> Destination:
        """An object as a target for receive(), save_to() and Part.save_to(). Never waits.

        As for a deposit; without a content type in the description it is that of the request or
        of the part.
        """

    def form_files(
        self,
        key: Callable[[str], str | None] | None = None,
        *,
        overwrite: bool = False,
        digests: Iterable[str] = (),
    ) -> StreamFactory:
        """What has the files of forms go to the storage as they come; see form_files.py."""

    def leftovers(self, older_than: datetime.timedelta) -> Iterator[Token]:
        """Writings that nobody has gone on with for so long, for abort(): a second net."""
