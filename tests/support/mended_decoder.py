"""werkzeug's multipart decoder with its one known fault mended in the plainest way."""

from __future__ import annotations

from werkzeug.sansio.multipart import MultipartDecoder


class MendedDecoder(MultipartDecoder):
    """Retains as much as a delimiter has without the last dash of its closing "--"."""

    def _last_partial_boundary_index(self, data: bytes | bytearray) -> int:
        boundary, self.boundary = self.boundary, self.boundary + b"-"
        try:
            return super()._last_partial_boundary_index(data)
        finally:
            self.boundary = boundary
