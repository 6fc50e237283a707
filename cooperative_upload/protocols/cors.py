"""What pages of other origins may do with uploads (the Fetch standard's CORS protocol).

One list for all protocols: a browser hides a response's fields that are not exposed, and a client
whose Upload-Offset is hidden can't resume.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")

# What clients send, beside what a browser allows of itself.
SENT = (
    "Authorization",
    "Content-Digest",
    "Content-Disposition",
    "Content-Type",
    "Repr-Digest",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-CSRF-Token",
    "X-HTTP-Method-Override",
    "X-Progress-ID",
    "X-Request-ID",
    "X-Requested-With",
)

# What they read.
EXPOSED = (
    "Location",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Offset",
)

# Seconds that a browser may keep the answer to a preflight: a day. Chromium keeps it two hours.
_MOST_AGE = 86_400

Headers = list[tuple[str, str]]


class Cors:
    """Whose pages may upload.

    origins: as browsers send them ("https://example.org"), or "*" for everybody's.
    credentials: whether cookies come with their requests. Raises ValueError for everybody's: the
        pages of anyone could upload in the name of whoever looks at them.
    headers: what the application's own requests send beside, such as a token's field.
    """

    def __init__(
        self,
        origins: Collection[str] | str = "*",
        *,
        credentials: bool = False,
        headers: Iterable[str] = (),
    ) -> None:
        if credentials and origins == "*":
            raise ValueError("credentials need origins by their names, not '*'")
        self._origins = [origins] if isinstance(origins, str) else origins
        self._credentials = credentials
        self._sent = ", ".join((*SENT, *headers))

    def headers(self, environ: Mapping[str, Any]) -> Headers:
        """What the response to this request says of it; that to a preflight, too."""
        origin = environ.get("HTTP_ORIGIN", "")
        everybody = "*" in self._origins
        varying = [] if everybody else [("Vary", "Origin")]
        if not origin or not (everybody or origin in self._origins):
            return varying
        found = [("Access-Control-Allow-Origin", "*" if everybody else origin), *varying]
        if self._credentials:
            found.append(("Access-Control-Allow-Credentials", "true"))
        if environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD"):
            return [
                *found,
                ("Access-Control-Allow-Methods", ", ".join(METHODS)),
                ("Access-Control-Allow-Headers", self._sent),
                ("Access-Control-Max-Age", str(_MOST_AGE)),
            ]
        return [*found, ("Access-Control-Expose-Headers", ", ".join(EXPOSED))]
