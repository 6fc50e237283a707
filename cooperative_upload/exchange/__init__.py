"""One request with a body, from its headers to the end of its connection.

Who is admitted, what is answered where a body is broken, how a body ended, and how long a
connection is waited for. The entrances import from here.
"""

from .admission import Admission
from .answer import answered, ending_when_closed
from .beyond_wsgi import SEND_INTERIM, TRAILERS, interim_response, trailers_of
from .cut import cut_off
from .deadline import ConnectionDeadline, closed_after, limit_handshakes
from .ending import ending_of, let_go, report
from .gunicorn_exchange import Exchange, answering_for
from .gunicorn_response import forget_headers, response_behind
from .lingering import Lingering

__all__ = [
    "SEND_INTERIM",
    "TRAILERS",
    "Admission",
    "ConnectionDeadline",
    "Exchange",
    "Lingering",
    "answered",
    "answering_for",
    "closed_after",
    "cut_off",
    "ending_of",
    "ending_when_closed",
    "forget_headers",
    "interim_response",
    "let_go",
    "limit_handshakes",
    "report",
    "response_behind",
    "trailers_of",
]
