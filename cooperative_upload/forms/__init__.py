"""What is made of a body: parts of forms, stored bodies, digests and names; and werkzeug's parser.

werkzeug_patch is what unchanged applications get of it. Exchanges and the entrances import from
here.
"""

from .parse_limits import limit_json, limited_form
from .safe_path import checked_names, path_below
from .streaming import Part, Received, receive, stream_parts
from .werkzeug_patch import save_cooperatively, spool_factory

__all__ = [
    "Part",
    "Received",
    "checked_names",
    "limit_json",
    "limited_form",
    "path_below",
    "receive",
    "save_cooperatively",
    "spool_factory",
    "stream_parts",
]
