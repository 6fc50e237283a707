"""What is made of a body: parts of forms, stored bodies, digests, names; and werkzeug's parser.

werkzeug_patch is what unchanged applications get of it. Exchanges, entrances and uploads import
from here.
"""

from .destinations import Destination, Kept
from .digests import ALGORITHMS, announced_digests, can_compute
from .hashing import Hashing
from .parse_limits import limit_json, limited_form
from .safe_path import checked_names, path_below
from .streaming import Part, Received, receive, save_to, stream_parts
from .werkzeug_patch import (
    StreamFactory,
    holding_stream_factory,
    save_cooperatively,
    spool_factory,
)

__all__ = [
    "ALGORITHMS",
    "Destination",
    "Hashing",
    "Kept",
    "Part",
    "Received",
    "StreamFactory",
    "announced_digests",
    "can_compute",
    "checked_names",
    "holding_stream_factory",
    "limit_json",
    "limited_form",
    "path_below",
    "receive",
    "save_cooperatively",
    "save_to",
    "spool_factory",
    "stream_parts",
]
