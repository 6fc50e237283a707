"""The request body as it arrives: where the bytes come from, in turns, within limits, to its end.

It knows neither files nor forms. The folders of those, and what holds a request together, import
from here.
"""

from .blocks import BLOCK_BYTES, BlockReader
from .first_reader import take_body
from .request_body import CooperativeInput
from .sources import MOST_AT_ONCE, PieceSource, SocketSource, StreamSource
from .tls_records import receiver, taken_together
from .wsgi_input import body_behind, chunk_error, cooperative_input, settings_of_body

__all__ = [
    "BLOCK_BYTES",
    "MOST_AT_ONCE",
    "BlockReader",
    "CooperativeInput",
    "PieceSource",
    "SocketSource",
    "StreamSource",
    "body_behind",
    "chunk_error",
    "cooperative_input",
    "receiver",
    "settings_of_body",
    "take_body",
    "taken_together",
]
