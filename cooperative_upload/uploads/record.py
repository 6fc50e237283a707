"""The record of one upload: its states, and what a request may do in each. No I/O.

States:

* `open`: bytes are missing, or nobody has said yet that these are all.
* `received`: all bytes are durable; nobody works on them.
* `checking`: one worker puts them in their place and has them checked.
* `ready`: in their place, checked. Final.
* `refused`: a check failed; the bytes are dropped, what is told of it stays for a while. Final.
* `expired`: abandoned, cancelled or deleted: for clients it is gone. Bytes and row follow.

    open -> received -> checking -> ready
      |         |         | ^  |
      |         |         | |  +--> refused
      |         +<--------+ |       (a failed or killed worker: received again)
      +---------+-----------+-----> expired (from every state)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..storage import Ranges


class State(str, Enum):
    """What an upload is at the moment; see above."""

    OPEN = "open"
    RECEIVED = "received"
    CHECKING = "checking"
    READY = "ready"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Answer:
    """The answer to the request that completed an upload, kept for who did not hear it.

    headers: in the order in which they are sent.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


@dataclass(frozen=True)
class Upload:
    """What is known of one upload at one moment.

    id: random, 144 bits in URL-safe letters; who knows it may go on with the upload.
    owner: whose it is, in the words of the application.
    size: bytes of the whole; None as long as nobody has declared them.
    received: which bytes are durable and counted.
    name, content_type, metadata: as the client gave them. Not to be trusted.
    partial: whether it is there to become part of another one (tus' concatenation).
    parts: the ids of those that it consists of; empty for one that has its own bytes.
    digests: of the whole, by their names in RFC 9530; before it is ready those that it has to
        have, then those that were found.
    key: its object's in the storage; for one of parts that of none.
    created, expires: seconds since the epoch; expires is None for what stays.
    refusal: (status, detail) of a refused one.
    answer: what was kept by remember_answer(); None before.
    """

    id: str
    owner: str
    state: State
    size: int | None
    received: Ranges
    name: str | None
    content_type: str | None
    metadata: Mapping[str, str]
    key: str
    created: float
    expires: float | None
    partial: bool = False
    parts: tuple[str, ...] = ()
    digests: Mapping[str, bytes] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None
    answer: Answer | None = None
    token: Mapping[str, Any] | None = field(default=None, repr=False)
    generation: int = 0

    @property
    def offset(self) -> int:
        """Where a client goes on: bytes that are there from the first one on without a gap."""
        return self.received.beginning

    @property
    def ready(self) -> bool:
        """Whether it is complete in every sense: the only one in which a client may be told so."""
        return self.state is State.READY
