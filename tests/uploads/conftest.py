"""Databases: SQLite in a folder, and one PostgreSQL for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_storage import MemoryStorage
from postgresql import PostgreSQL
from upload_bench import Bench


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A cluster of its own."""
    with PostgreSQL() as cluster:
        yield cluster


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """An empty database of its own."""
    return f"sqlite:///{tmp_path / 'uploads.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        url: str = request.getfixturevalue("sqlite")
        return url
    cluster: PostgreSQL = request.getfixturevalue("postgresql")
    return cluster.new_database()


@pytest.fixture
def storage() -> MemoryStorage:
    """An empty one in memory."""
    return MemoryStorage()


@pytest.fixture
def bench(storage: MemoryStorage, database: str) -> Bench:
    """On each database."""
    return Bench(storage, database)


@pytest.fixture
def quick(storage: MemoryStorage, sqlite: str) -> Bench:
    """On SQLite alone, for what the database has no part in."""
    return Bench(storage, sqlite)
