"""The tables of the state, and the numbered steps that lead to them.

`metadata` is for Alembic and the like: an application that has its own migrations compares with
it. Everybody else needs nothing, since the tables are made, and brought up to date, when a service
first asks its database.

A step is never changed once it was released; the next one is added behind it. Steps run in one
transaction each, with the schema's row (SQLite: the file; PostgreSQL: an advisory lock) held, so
that workers that start together wait for the first of them.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    inspect,
    select,
)

metadata = MetaData()

uploads = Table(
    "cooperative_uploads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("size", BigInteger),
    # Pairs of numbers: which bytes are there.
    Column("received", JSON, nullable=False),
    Column("name", Text),
    Column("content_type", Text),
    Column("metadata", JSON, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    # Seconds since the epoch.
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("partial", Boolean, nullable=False),
    Column("parts", JSON, nullable=False),
    Column("part_of", String(64)),
    Column("alias", Text),
    Column("digests", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("refusal", JSON(none_as_null=True)),
    Column("answer", JSON(none_as_null=True)),
    # The storage's own words for the writing.
    Column("token", JSON(none_as_null=True)),
    # Bytes that count as the owner's.
    Column("reserved", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("holder", Text),
    Column("stop_requested", Boolean, nullable=False),
    Column("placing", Boolean, nullable=False),
    Index("cooperative_uploads_of_owner", "owner", "created", "id"),
    Index("cooperative_uploads_by_alias", "owner", "alias", unique=True),
    Index("cooperative_uploads_by_expiry", "expires"),
    Index("cooperative_uploads_by_state", "state"),
)

# What each owner has. A row of its own, since a sum over the uploads of an owner would be taken
# anew for each creation, and two creations at once could both fit into what is left.
owners = Table(
    "cooperative_upload_owners",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("uploads", BigInteger, nullable=False),
)

# What the application is still to be told, in the order in which it came about.
outbox = Table(
    "cooperative_upload_outbox",
    metadata,
    # SQLite numbers only such a column by itself.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("upload", String(64), nullable=False),
    Column("event", String(16), nullable=False),
    # The upload as it was.
    Column("row", JSON, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Seconds since the epoch.
    Column("due", Float, nullable=False),
    Column("holder", Text),
    Index("cooperative_upload_outbox_of_upload", "upload", "number"),
)

# The processes that work on uploads. While one lives it counts its beats up.
workers = Table(
    "cooperative_upload_workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("beats", BigInteger, nullable=False),
)

# What one process does for all of them.
duties = Table(
    "cooperative_upload_duties",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", Text),
)

versions = Table(
    "cooperative_upload_schema",
    MetaData(),
    Column("version", Integer, primary_key=True),
)


def _first_tables(connection: Connection) -> None:
    metadata.create_all(connection)


STEPS: tuple[Callable[[Connection], None], ...] = (_first_tables,)

# Any number that no other program takes for its advisory lock: "cooperat" in ASCII.
_ADVISORY_LOCK = 0x636F6F7065726174


def bring_up_to_date(connection: Connection) -> None:
    """Take the steps that were not taken yet. In a transaction that may write.

    Raises RuntimeError for tables of a newer version of this package.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    version = _version(connection)
    if version > len(STEPS):
        raise RuntimeError(
            f"The tables of the uploads are of version {version}, and this program knows those "
            f"up to {len(STEPS)}: a newer cooperative_upload has used this database."
        )
    for number, step in enumerate(STEPS[version:], version + 1):
        step(connection)
        connection.execute(insert(versions).values(version=number))


def _version(connection: Connection) -> int:
    if not inspect(connection).has_table(versions.name):
        versions.create(connection)
    return connection.scalar(select(func.max(versions.c.version))) or 0
