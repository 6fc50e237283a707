"""CooperativeInput: the wsgi.input that lets others run.

It keeps the scheduler's rules while a body is read: a read returns to its application with a turn,
for which it has stood in line if its slice was used up or if it waited, and a long read goes to
the end of the line between its pieces. And a rule of its own: a body is complete or an error.
Where less arrives than was announced, every read from then on raises IncompleteBody; the end of
the data (b"") is returned for the end of the body alone.

Where the bytes come from is a source (sources.py). Outside of a hub there are no turns to take.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from gevent.hub import Hub

from ..errors import (
    STOPPED,
    BodyError,
    BodyTimeout,
    BodyTooLarge,
    BodyTooSlow,
    IncompleteBody,
    RequestError,
)
from ..hub import current_hub
from ..monitoring import State, UploadRecord
from ..settings import UploadSettings
from ..settings_in_force import settings_in_force
from ..turns import Scheduler, current_scheduler, scheduler_of
from .blocks import BlockReader
from .limits import MinimumRate
from .sources import SocketSource, Source, StreamSource
from .time_limit import TimeIsUp, within

E = TypeVar("E", bound=RequestError)

# Seconds, about thirty years: gevent's timers take no infinity.
_LONGEST_TIMER = 1e9

# They are set for each block.
_READING = State.READING
_WAITING_FOR_THE_CLIENT = State.WAITING_FOR_THE_CLIENT


class CooperativeInput(BlockReader):
    """A request body that is read in turns and is complete or an error.

    source: a Source, or any object with read(n), such as the wsgi.input of another server.
    content_length: bytes of the body; None where the framing does not announce them.
    settings: None for those of the request or of the process.
    sock: the gevent socket that the source receives from, for the limit of time between two
        reads; None if there is none, or if the source has limits of its own.
    most_bytes: the size from which on the body is refused with BodyTooLarge; None for none.
    before_receiving: called once, when the first bytes are about to be received.

    read, readline, readlines and iteration are those of PEP 3333, and exact: read(n) returns
    fewer than n bytes only at the end of the body. All of them raise IncompleteBody (or another
    BodyError) where the body is not what the client announced, where it comes too slowly or is
    too large, and after a read that was broken off by a gevent.Timeout or a kill. blocks() is for
    who keeps what came of a broken body: it hands all of that out before it raises. There is no
    readinto: werkzeug would then take another path than over gunicorn's own body.
    """

    def __init__(
        self,
        source: Any,
        content_length: int | None = None,
        settings: UploadSettings | None = None,
        *,
        sock: Any = None,
        most_bytes: int | None = None,
        before_receiving: Callable[[], object] | None = None,
    ) -> None:
        self._source: Source = source if hasattr(source, "receive") else StreamSource(source)
        super().__init__(self._source.read_ahead)
        self._content_length = content_length
        self._settings = settings or settings_in_force()
        self._body_timeout = self._settings.body_timeout_seconds
        self._sock = sock if self._body_timeout else None
        # Such a source waits for more than the next bytes: its socket sees what comes meanwhile.
        self._collects = self._source.most_pending > 0
        # Seconds that one receive may take, as far as the socket does not see to that.
        self._patience = math.inf if self._collects or self._sock is None else self._body_timeout
        self._most_bytes = most_bytes
        self._before_receiving = before_receiving
        self._record = UploadRecord()
        self._rate = _minimum_rate(self._settings)
        self._too_slow: float | None = None  # the rate of a window that was
        self._takes_turns = (
            content_length is None or content_length > self._settings.small_body_bytes
        )
        self._received = 0
        self._received_at_once = False  # by the read that runs: its last piece was there already
        self._ended = content_length == 0
        self._error: BodyError | None = None
        self.rejected_for: RequestError | None = None
        if most_bytes is not None and content_length is not None and content_length > most_bytes:
            self._error = BodyTooLarge(most_bytes, content_length)

    @property
    def received(self) -> int:
        """Bytes of the body that have come from the source so far."""
        return self._received

    @property
    def handed_out(self) -> int:
        """Bytes of the body that reads have returned."""
        return self._received - (len(self._block) - self._offset)

    @property
    def settings(self) -> UploadSettings:
        """Those that hold for it."""
        return self._settings

    @property
    def content_length(self) -> int | None:
        """Bytes of the whole body; None where the framing does not announce them."""
        return self._content_length

    @property
    def to_come(self) -> int | None:
        """Bytes of the body that have not come from the source; None if nobody knows how many."""
        if self._ended:
            return 0
        return None if self._content_length is None else self._content_length - self._received

    @property
    def to_be_sent(self) -> int | None:
        """Of those, the bytes that have not come from the socket either; None as there."""
        return self._source.left if isinstance(self._source, SocketSource) else self.to_come

    @property
    def takes_turns(self) -> bool:
        """Whether this is an upload: a body of unknown size, or one that is not small."""
        return self._takes_turns

    @property
    def error(self) -> BodyError | None:
        """What every read raises from now on; None as long as all is well."""
        return self._error

    @property
    def failed(self) -> bool:
        """Whether the body turned out broken, so that its connection can't be used again.

        gunicorn from 27 on asks its bodies for this name before it looks for the next request.
        """
        return self._error is not None

    def tell(self, record: UploadRecord) -> None:
        """Write there from now on how far it is."""
        self._record = record

    def limit_to(self, most_bytes: int) -> None:
        """Refuse more bytes than that from now on, because of what they are read for.

        Raises BodyTooLarge at once if more are announced; if no number is, the read that passes
        the limit raises it. A body that was read to its end already is left alone.
        """
        if self._error is not None or self._ended:
            return
        self._most_bytes = min(most_bytes, self._most_bytes or most_bytes)
        if self._content_length is not None and self._content_length > most_bytes:
            self._error = BodyTooLarge(most_bytes, self._content_length)
            raise self._error

    def rejected(self, error: E) -> E:
        """Note what its reader found wrong with a body that came whole; returns the error."""
        self.rejected_for = error
        return error

    def checkpoint(self) -> None:
        """Go on with a turn, as every read does. For a server, before it calls the application."""
        scheduler = self._scheduler()
        if scheduler is not None:
            scheduler.checkpoint()

    def _before_return(self) -> None:
        self._received_at_once = False
        self.checkpoint()

    def _put_back(self, data: bytes) -> None:
        if self._error is None:  # every read of a broken body raises
            super()._put_back(data)

    def _receive(self, size: int) -> bytes:
        return self._next_block(self._source.receive, size)

    def _receive_line(self, limit: int) -> bytes:
        return self._next_block(self._source.receive_line, limit)

    def _next_block(self, receive: Callable[[int], bytes], size: int) -> bytes:
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._ended:
            return b""
        if self._content_length is not None:
            size = min(size, self._content_length - self._received)
        try:
            block = self._receive_in_turn(receive, size)
            if not block and self._content_length is not None:
                raise IncompleteBody(self._received, self._content_length)
            self._received += len(block)
            self._record.received = self._received
            if self._most_bytes is not None or self._too_slow is not None:
                self._check_limits()
        except BodyError as error:
            self._error = error
            raise
        except OSError as error:
            # One without text is gunicorn's, of a body in chunks that ended too early.
            lost = error.strerror and f"the connection was lost ({error.strerror})"
            raise self._lose_bytes(lost or STOPPED) from error
        except BaseException as error:
            self._lose_bytes(f"a read was broken off ({type(error).__name__})")
            raise
        if not block or self._received == self._content_length:
            self._ended = True
            self._record.arrived = time.monotonic()
        return block

    def _check_limits(self) -> None:
        if self._most_bytes is not None and self._received > self._most_bytes:
            raise BodyTooLarge(self._most_bytes, None)
        too_slow, self._too_slow = self._too_slow, None
        if too_slow is not None and self._received != self._content_length:
            raise self._slower_than_allowed(too_slow)

    def _receive_in_turn(self, receive: Callable[[int], bytes], size: int) -> bytes:
        hub = current_hub()
        scheduler = None
        if hub is not None and self._takes_turns:
            scheduler = scheduler_of(hub, self._settings)
            if self._received_at_once:
                scheduler.checkpoint()
        had_turn, rounds = (scheduler.has_turn, scheduler.rounds) if scheduler else (False, 0)
        if self._before_receiving is not None:
            announce, self._before_receiving = self._before_receiving, None
            announce()
        record = self._record
        record.state = _WAITING_FOR_THE_CLIENT
        began = time.monotonic()
        try:
            block = self._receive_in_time(hub, receive, size)
        finally:
            seconds = time.monotonic() - began
            record.state = _READING
            if scheduler is not None and scheduler.has_turn:
                self._received_at_once = True
            else:
                # Who had to wait has let the others run, and needs no turn to receive once more:
                # a slow client's body takes one turn for each read, not one for each packet.
                waited = had_turn or scheduler is None or scheduler.rounds != rounds
                self._received_at_once = not waited
                record.waited_for_client += seconds
        if self._rate is not None and block:
            self._too_slow = self._rate.add(len(block), seconds)
        return block

    def _receive_in_time(
        self, hub: Hub | None, receive: Callable[[int], bytes], size: int
    ) -> bytes:
        """Receive, in the time that a client has for it: here, and here alone, a body waits."""
        if hub is None or self._collects:
            receive = partial(self._receive_in_time_of_socket, receive)
        seconds = self._patience if self._rate is None else self._seconds_to_receive(size)
        if hub is None or seconds > _LONGEST_TIMER:
            return receive(size)
        try:
            return within(hub, seconds, receive, size)
        except TimeIsUp:
            raise self._out_of_time(seconds) from None

    def _seconds_to_receive(self, size: int) -> float:
        assert self._rate is not None
        pending = min(size, self._source.most_pending)
        return min(self._patience, self._rate.seconds_left(pending))

    def _out_of_time(self, seconds: float) -> BodyError:
        """What ends a receive that took so long."""
        if self._rate is None or seconds == self._patience:
            return BodyTimeout(self._received, self._content_length, seconds)
        return self._slower_than_allowed(self._rate.with_nothing_more(seconds))

    def _slower_than_allowed(self, rate: float) -> BodyTooSlow:
        minimum = self._settings.min_rate_bytes
        return BodyTooSlow(self._received, self._content_length, rate, minimum)

    def _receive_in_time_of_socket(self, receive: Callable[[int], bytes], size: int) -> bytes:
        """Receive, with the limit that begins anew with each packet which brings no byte."""
        sock, seconds = self._sock, self._body_timeout
        if sock is None:
            return receive(size)
        sock.settimeout(seconds)
        try:
            return receive(size)
        except TimeoutError as error:
            if error.errno is not None:  # ETIMEDOUT: the network gave up, and not this server
                raise
            raise BodyTimeout(self._received, self._content_length, seconds) from None
        finally:
            sock.settimeout(None)  # a response may take longer

    def _scheduler(self) -> Scheduler | None:
        return current_scheduler(self._settings) if self._takes_turns else None

    def _lose_bytes(self, cause: str) -> BodyError:
        """From here on every read raises: bytes of the body are missing.

        That is so where a connection broke, and where a read was broken off by a time-out, a kill
        or a fault of the source: what it had received is lost with it, and a decoder that was
        broken off reports the end when it is asked again.
        """
        self._error = IncompleteBody(self._received, self._content_length, cause)
        return self._error


def _minimum_rate(settings: UploadSettings) -> MinimumRate | None:
    if not settings.min_rate_bytes:
        return None
    return MinimumRate(settings.min_rate_bytes, settings.min_rate_window_seconds)
