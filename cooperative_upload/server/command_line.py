"""`cooperative-upload`: its verbs, their options and exit statuses.

    0     done
    1     failed; it may go well another time
    2     the command makes no sense
    3     the storage refuses: no such bucket or container, no credentials, no right
    4     there is an object already, and --overwrite was not given
    130   Ctrl-C (128 and the number of the signal)

What is not used is not loaded: --help needs neither a storage's library nor rich's bars.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from . import interrupting, sentences
from .amounts import parse_duration, parse_size, show_size
from .destinations import Destination, split_url
from .interrupting import Interrupted
from .opening import Opening
from .putting import PutOptions, put_all

T = TypeVar("T")

command = typer.Typer(
    help="Send files to a disk, to S3 or to Swift, and look after what is there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None if not sys.stdout.isatty() else "rich",
)


def _amount(parse: Callable[[str], T]) -> Callable[[str], T]:
    """What `parse` says of a value is what the person at the terminal reads."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(f"{error}.") from None

    return parsed


Url = Annotated[
    str,
    typer.Argument(
        help="s3://bucket/key, swift://container/key or file:///path", show_default=False
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Of a store that is not Amazon's: http://127.0.0.1:8333",
        show_default=False,
    ),
]  # fmt: skip


@command.command()
def put(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="What to send; - is the standard input"),
    ],
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="s3://bucket/key, swift://container/key or file:///path. Below one that ends in "
            "a slash, and for several files, each has its own name",
        ),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier put broke off")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody read it (S3, if the bucket lets you)")
    ] = False,
    content_type: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="Default: as the name says", show_default=False),
    ] = None,
    all_or_nothing: Annotated[
        bool,
        typer.Option("--all-or-nothing", help="If it breaks off, leave nothing to go on from"),
    ] = False,
    part_size: Annotated[
        int | None,
        typer.Option(
            parser=_amount(parse_size), metavar="SIZE",
            help="Of one part (16MiB); larger where the store's limits demand it",
            show_default=False,
        ),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            parser=_amount(parse_size), metavar="SIZE",
            help="For all parts in flight (default: 64MiB)", show_default=False,
        ),
    ] = None,
    endpoint: Endpoint = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say only what went wrong")
    ] = False,
) -> None:  # fmt: skip
    """Send files, in parts of which several are in flight.

    One line for each file that is stored says where it is. What broke off, by Ctrl-C too, goes on
    with --resume; what nobody goes on with, `sweep` takes away.

    cooperative-upload put backup.tar.gz s3://bucket/backups/

    pg_dump mydb | cooperative-upload put - swift://backups/mydb.sql
    """
    options = PutOptions(
        resume=resume, overwrite=overwrite, all_or_nothing=all_or_nothing,
        content_type=content_type, public=public, quiet=quiet,
    )  # fmt: skip
    opening = Opening(endpoint, part_size=part_size, memory=memory)
    _end(lambda: put_all(files, url, opening, options), url)


@command.command("ls")
def list_objects(url: Url, endpoint: Endpoint = None) -> None:
    """List the objects whose keys begin as the URL does."""

    def work() -> int:
        target = split_url(url)
        for stored in Opening(endpoint).storage(target).list(target.key):
            when = stored.modified.astimezone().strftime("%Y-%m-%d %H:%M")
            found = Destination(target.storage, stored.key).url
            print(f"{when}  {show_size(stored.size):>10}  {found}")
        return 0

    _end(work, url)


@command.command("rm")
def remove(url: Url, endpoint: Endpoint = None) -> None:
    """Take one object away. One that is not there is left alone."""

    def work() -> int:
        target = split_url(url)
        Opening(endpoint).storage(target).delete(target.key)
        return 0

    _end(work, url)


@command.command()
def sweep(
    url: Annotated[str, typer.Argument(help="Bucket, container or folder", metavar="URL")],
    older_than: Annotated[
        Any,
        typer.Option(
            parser=_amount(parse_duration), metavar="TIME",
            help="Uploads that nobody has gone on with for so long",
        ),
    ] = "7d",
    endpoint: Endpoint = None,
) -> None:  # fmt: skip
    """Take away what uploads left behind that were never completed."""

    def work() -> int:
        storage = Opening(endpoint).storage_at(url)
        swept = 0
        for token in storage.leftovers(older_than):
            storage.abort(token)
            swept += 1
        print(f"{swept:,} swept.")
        return 0

    _end(work, url)


def _end(work: Callable[[], int], url: str) -> None:
    """Do it, and end the process with its status."""
    try:
        status: int | Interrupted = interrupting.run(work)
    except sentences.EXPECTED as error:
        print(f"cooperative-upload: {sentences.sentence_of(error, url)}", file=sys.stderr)
        raise typer.Exit(sentences.status_of(error)) from None
    if isinstance(status, Interrupted):
        raise typer.Exit(sentences.status_of(status))
    raise typer.Exit(status)
