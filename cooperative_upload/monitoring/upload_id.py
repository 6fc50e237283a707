"""The id that a client chooses for its upload, to ask later how far it is.

It comes in the header or the query parameter X-Progress-ID, as for the upload progress modules of
nginx and lighttpd. Whoever knows an id may ask by it, and an id is all that is needed, so one that
is short enough to be guessed is not taken. Only a digest of it is kept: who reads the server's
memory, or the status page, learns no id.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from urllib.parse import parse_qs

NAME = "X-Progress-ID"

# 16 characters are 80 bits and more if they are random, as the 32 of nginx's examples are.
_TAKEN = re.compile(r"[A-Za-z0-9_.~-]{16,128}")

RULE = "16 to 128 letters, digits and any of _ . ~ -"

# What is kept of an id: far more than two ids could have in common by chance.
KEY_BYTES = 16


def chosen_id(header: str, query: str) -> str:
    """The id of a request; empty if it has none, or one that is not taken.

    header: the value of the header, which goes first; empty if there is none.
    query: the query string of the URL. The name is looked for as it is, the value is unquoted.
    """
    if not header and NAME not in query:
        return ""
    chosen = header or parse_qs(query).get(NAME, [""])[0]
    return chosen if _TAKEN.fullmatch(chosen) else ""


def key_of(chosen: str) -> bytes:
    """What is kept of an id; b"" for none."""
    if not chosen:
        return b""
    return blake2b(chosen.encode(), digest_size=KEY_BYTES).digest()
