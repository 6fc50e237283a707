"""Uploads without a server: a client that speaks to the WSGI application itself."""

from __future__ import annotations

from typing import Any

from werkzeug.test import Client, TestResponse

from cooperative_upload.protocols import Uploads

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
PART = {"Content-Type": "application/partial-upload"}


class Uploading:
    """Requests of one client, at /files."""

    def __init__(self, uploads: Uploads) -> None:
        self.uploads = uploads
        self._client = Client(uploads)

    def ask(self, method: str, address: str = "/files", **more: Any) -> TestResponse:
        """The response; more: as werkzeug's client has them."""
        path = address.removeprefix("/files")
        return self._client.open(path, method=method, base_url="http://localhost/files", **more)

    def begin(self, size: int | None = 10, **headers: str) -> str:
        """The address of a new upload of tus."""
        length = {"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}
        response = self.ask("POST", headers={**TUS, **length, **headers})
        assert response.status_code == 201, response.get_data()
        return f"/{response.headers['Location']}"

    def send(self, address: str, offset: int, data: bytes, **headers: str) -> TestResponse:
        """A PATCH of tus."""
        fields = {**BYTES, "Upload-Offset": str(offset), **headers}
        return self.ask("PATCH", address, headers=fields, data=data)

    def offset(self, address: str) -> int:
        """Where it goes on, as tus asks for it."""
        response = self.ask("HEAD", address, headers=TUS)
        assert response.status_code == 200, response.status
        return int(response.headers["Upload-Offset"])

    def content(self, address: str) -> bytes:
        """What the application has of a ready upload."""
        with self.uploads.open(id_in(address)) as stored:
            return b"".join(stored.blocks())


def told(response: TestResponse) -> dict[str, Any]:
    """The object in a response."""
    found: dict[str, Any] = response.get_json(force=True)
    return found


def id_in(address: str) -> str:
    return address.rpartition("/")[2]
