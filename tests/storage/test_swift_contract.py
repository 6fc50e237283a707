"""SwiftStorage does what every storage does, in a real Swift."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from greenlets import hub_scheduler, hub_writer, in_greenlet
from storage_contract import (
    CrashContract,
    DepositContract,
    ObjectContract,
    Place,
    Run,
    WritingContract,
)
from swift_server import Swift

from cooperative_upload.settings import UploadSettings
from cooperative_upload.storage.swift import SwiftStorage
from cooperative_upload.storage.swift_access import login_from


class SwiftPlace(Place):
    """A container of its own."""

    part_size = 4096
    primitives = ("cooperative_upload.storage.swift_connections.SwiftConnections.send",)
    can_sign = True

    def __init__(self, swift: Swift) -> None:
        self._swift = swift
        self._container = secrets.token_hex(8)
        status, _ = swift.ask("PUT", f"/{self._container}")
        assert status == 201
        self._settings = UploadSettings(storage_retry_seconds=5)

    def storage(self) -> SwiftStorage:
        return SwiftStorage(
            login_from(self._swift.variables),
            self._container,
            segment_bytes=self.part_size,
            settings=self._settings,
        )

    def remains(self) -> list[str]:
        """What no object needs."""
        segments = f"{self._container}_segments"
        needed = set()
        for name in self._swift.names(self._container):
            needed |= self._named_by(f"/{self._container}/{name}")
        return [
            name for name in self._swift.names(segments) if f"/{segments}/{name}" not in needed
        ]

    def _named_by(self, path: str) -> set[str]:
        status, body = self._swift.ask("GET", f"{quote(path)}?multipart-manifest=get")
        if status == 404 or not body.startswith(b'[{"'):
            return set()
        names = {line["name"] for line in json.loads(body)}
        return names.union(*(self._named_by(name) for name in names))


class _InSwift:
    @pytest.fixture
    def place(self, swift: Swift) -> SwiftPlace:
        return SwiftPlace(swift)

    @pytest.fixture
    def run(self) -> Iterator[Run]:
        """In a greenlet alone: each request takes Swift 6 to 15 ms of a processor."""
        with hub_scheduler(), hub_writer():
            yield in_greenlet


class TestDeposits(_InSwift, DepositContract):
    pass


class TestWritings(_InSwift, WritingContract):
    pass


class TestCrashes(_InSwift, CrashContract):
    """For the same reason not in all combinations."""

    @pytest.mark.parametrize(("then", "overwrite"), [("go on", True), ("abort", False)])
    def test_a_writing(self, place: Place, then: str, overwrite: bool) -> None:
        super().test_a_writing(place, then, overwrite)

    @pytest.mark.parametrize(("overwrite", "parts"), [(True, 0.01), (True, 1.2), (False, 1.2)])
    def test_a_deposit(self, place: Place, overwrite: bool, parts: float) -> None:
        super().test_a_deposit(place, overwrite, parts)


class TestObjects(_InSwift, ObjectContract):
    pass
