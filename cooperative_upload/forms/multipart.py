"""werkzeug's multipart decoder with a bound on headers, and a shorter way through large parts.

LimitedMultipartDecoder refuses a part whose headers are longer than anybody's. werkzeug parses
them in one go, and up to 3.1.7 in a time that grows with the square of their length: those of one
part could hold the loop for seconds. It asks werkzeug's decoder for nothing but its state and its
buffer.

Nearly all blocks of a large upload hold no boundary. For such a block werkzeug's decoder copies
its bytes four times and searches them once; BlockMultipartDecoder searches them once and hands
the block itself on. Whatever else arrives (headers, boundaries, the end) goes through werkzeug's
own code, so that every event, every error and every retained byte is the same: tests compare the
two over arbitrary bodies. The search that is left is about a tenth of an upload's time.

One thing is mended on the way. werkzeug retains what may be the beginning of a delimiter, but not
all of one that is there except for the last dash of its closing "--": with a block that ends
right there (one size of a file in 65,536) it adds a carriage return to the file. Here that is
retained too, so what an application gets does not depend on where blocks end.
"""

from __future__ import annotations

import re
from importlib.metadata import version

from werkzeug.sansio.multipart import NEED_DATA, Data, Event, MultipartDecoder, State

from ..errors import PartHeadersTooLarge

# What ends the headers of a part. werkzeug takes the other line breaks, too.
_BLANK_LINE = re.compile(rb"\r\n\r\n|\r\r|\n\n")
_LONGEST_BLANK_LINE = 4


class LimitedMultipartDecoder(MultipartDecoder):
    """werkzeug's decoder, within a bound. Its arguments and events are werkzeug's."""

    # Bytes of one part's headers, above which next_event() raises PartHeadersTooLarge; 0: any.
    most_header_bytes = 0

    def next_event(self) -> Event:
        if self.state is State.PART and self._headers_are_too_long():
            raise PartHeadersTooLarge(self.most_header_bytes)
        return super().next_event()

    def _headers_are_too_long(self) -> bool:
        """Whether they are, wherever the blocks end in which they came."""
        most = self.most_header_bytes
        if not most or len(self.buffer) <= most:
            return False
        # Of the delimiter, where a block ended within its "\r\n".
        if self.buffer.startswith(b"\n"):
            most += 1
        end = _BLANK_LINE.search(self.buffer, 0, most + _LONGEST_BLANK_LINE)
        if end is None:
            return len(self.buffer) >= most + _LONGEST_BLANK_LINE
        return end.start() > most


class BlockMultipartDecoder(LimitedMultipartDecoder):
    """The same, faster inside of parts."""

    def __init__(
        self,
        boundary: bytes,
        max_form_memory_size: int | None = None,
        *,
        max_parts: int | None = None,
    ) -> None:
        super().__init__(boundary, max_form_memory_size, max_parts=max_parts)
        self._delimiter = b"--" + boundary
        self._longest_partial = len(b"\r\n" + self._delimiter + b"-")
        self._block = b""  # received inside of a part, and not yet looked at

    def receive_data(self, data: bytes | None) -> None:
        if self._block:
            self.buffer += self._block
            self._block = b""
        retained = len(self.buffer)
        if not data or self.state is not State.DATA or self._is_too_much(retained + len(data)):
            super().receive_data(data)
            return
        self._block = bytes(self.buffer) + data if retained else data
        self.buffer.clear()

    def next_event(self) -> Event:
        block, self._block = self._block, b""
        if not block:
            return super().next_event()
        if self._delimiter in block:
            self.buffer += block
            return super().next_event()
        end = self._last_partial_boundary_index(block)
        self.buffer += block[end:]
        if end == 0:
            return NEED_DATA
        return Data(data=block[:end], more_data=True)

    def _is_too_much(self, size: int) -> bool:
        return self.max_form_memory_size is not None and size > self.max_form_memory_size

    def _last_partial_boundary_index(self, data: bytes | bytearray) -> int:
        """Where a delimiter may begin whose rest has not come yet; the end if nowhere."""
        first = max(0, len(data) - self._longest_partial)
        line_feed, carriage_return = data.rfind(b"\n", first), data.rfind(b"\r", first)
        return min(end if end >= 0 else len(data) for end in (line_feed, carriage_return))


def is_supported() -> bool:
    """Whether the installed werkzeug has the decoder that this one was compared with.

    3.1.4 to 3.1.7 changed which bytes are retained at the end of a block; 3.2 may do so again.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", version("werkzeug"))[:2])
    return numbers < (3, 2)
