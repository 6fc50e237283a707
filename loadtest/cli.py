"""The command line: options, and the order in which results appear."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from loadtest import interrupts, settings
from loadtest.assertions import METRICS, check, parse_assertions, refuse_impossible
from loadtest.clients import bodies, refused
from loadtest.errors import AssertionsFailed, LoadTestError, UsageError
from loadtest.measuring import session
from loadtest.reports import as_json, as_text, environment, report_refusals, report_stalled
from loadtest.reports.findings import Findings
from loadtest.reports.progress import Display
from loadtest.servers import kinds
from loadtest.servers.deployments import server_names
from loadtest.settings import Settings, make_settings
from loadtest.units import parse_seconds, parse_size

T = TypeVar("T")

DEFAULT_REPORT = Path("report.html")

FINDINGS = {
    "uploads": as_text.findings,
    "refusals": report_refusals.findings,
    "stalled": report_stalled.findings,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; the exit status is that of errors.py."""
    options = vars(parser().parse_args(arguments))
    interrupts.install()
    given = sys.argv[1:] if arguments is None else arguments
    command = " ".join(["python -m loadtest", *map(shlex.quote, given)])
    console = Console(stderr=True)
    try:
        return _run(options, command, console)
    except LoadTestError as error:
        console.print(f"loadtest: {error}", highlight=False, markup=False, soft_wrap=True)
        return error.status
    except OSError as error:
        # Of our own files: the network's and the servers' errors are faults with a sentence.
        where = f"{error.filename}: " if error.filename else ""
        console.print(f"loadtest: {where}{error.strerror}.", highlight=False, markup=False)
        return LoadTestError.status
    except interrupts.Interrupted as error:
        name = signal.Signals(error.number).name
        console.print(f"loadtest: ended by {name}; nothing is left running.", highlight=False)
        return 128 + error.number


def _run(options: dict[str, Any], command: str, console: Console) -> int:
    chosen = _settings(options)
    chosen.validate()
    demands = parse_assertions(options["assertions"] or "")
    refuse_impossible(demands, chosen, server_names(chosen))
    if chosen.tax:
        return _tax(chosen, options, console)
    _check_writable([options[kind] for kind in ("json", "html", "png")])
    with Display(console) as display:
        results = session.run(chosen, display.show)
    found = FINDINGS[chosen.scenario](results)
    print(as_text.render(found))
    _write(options, found, command)
    if found.faults:
        raise LoadTestError("Measured, but not everything went well; see the notes above.")
    failures = check(demands, found.rows)
    if failures:
        raise AssertionsFailed("\n".join(failures))
    return 0


def _settings(options: dict[str, Any]) -> Settings:
    """What was said on the command line; all else is a default."""
    names = [field.name for field in fields(Settings)]
    said = {name: options[name] for name in names if options.get(name) is not None}
    # argparse collects repeated options in lists.
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
    }
    return make_settings(values)


def _tax(chosen: Settings, options: dict[str, Any], console: Console) -> int:
    if options["png"] or options["html"] not in (DEFAULT_REPORT, None):
        raise UsageError("The cost of a request has a table and --json, and no report or picture.")
    _check_writable([options["json"]])

    def tell(pair: int, server: str, per_second: float) -> None:
        line = f"pair {pair + 1}/{chosen.tax} {server}: {per_second:,.0f} requests/s"
        console.print(line, highlight=False)

    found = session.run_tax(chosen, tell)
    print(as_text.tax_markdown(found))
    if options["json"]:
        content = as_json.render_tax(chosen, found, environment.describe())
        replace(options["json"], content.encode())
    return 0


def _check_writable(files: Sequence[Path | None]) -> None:
    """A path that cannot be written is better known before the measurement than after it."""
    for file in files:
        if file is None:
            continue
        if file.exists() and not file.is_file():
            raise UsageError(f"{file} cannot be written: it is there, and no regular file.")
        partial = _partial(file)
        try:
            partial.touch()
            partial.unlink()
        except OSError as error:
            raise UsageError(f"{file} cannot be written: {error.strerror}.") from None


def _write(options: dict[str, Any], found: Findings, command: str) -> None:
    """The files that were asked for; each appears whole or not at all."""
    facts = environment.describe()
    if options["json"]:
        replace(options["json"], as_json.render(found, facts).encode())
    if options["html"]:
        from loadtest.reports import as_html  # matplotlib takes a second to import

        page = as_html.render(found, command=command, facts=facts)
        replace(options["html"], page.encode())
        print(f"\nReport: {options['html']}")
    if options["png"]:
        from loadtest.reports import figures

        replace(options["png"], figures.to_png(figures.timeline(found.measurements, figures.WIDE)))


def replace(file: Path, content: bytes) -> None:
    partial = _partial(file)
    try:
        partial.write_bytes(content)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise LoadTestError(f"{file} could not be written: {error.strerror}.") from None


def _partial(file: Path) -> Path:
    """What is written first, in the same directory."""
    return file.with_name(file.name + ".partial")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m loadtest",
        description="Measures small requests beside large uploads. Without options: the stock "
        "gevent worker against the cooperative one, in a minute or two.",
    )
    group = made.add_argument_group("what is measured")
    group.add_argument(
        "--servers",
        type=_list(str),
        metavar="LIST",
        help=f"of {', '.join(kinds.NAMES)}, or name=dotted.Worker",
    )
    group.add_argument(
        "--uploads",
        type=_list(int),
        metavar="LIST",
        help="numbers of uploads at once (default: 1,8)",
    )
    group.add_argument(
        "--total",
        type=_value(parse_size),
        metavar="SIZE",
        help="content uploaded in each measurement (default: as much as fits into the time)",
    )
    group.add_argument(
        "--size",
        type=_value(parse_size),
        metavar="SIZE",
        help="content of one request (default: total / uploads)",
    )
    group.add_argument(
        "--seconds",
        type=_value(parse_seconds),
        metavar="TIME",
        help="the whole run is to take, as far as it can be known before (default: 60s)",
    )
    group.add_argument(
        "--idle-seconds",
        type=_value(parse_seconds),
        metavar="TIME",
        help="for which the idle server is measured (default: 3s)",
    )
    group.add_argument(
        "--body",
        choices=bodies.KINDS,
        help="of an upload: a form with one large file, with many small parts, or the bare bytes "
        "with a Content-Length or in chunks (default: form)",
    )
    group.add_argument(
        "--store",
        action="store_true",
        help="have each raw body stored as a file, instead of counted (with --body raw, chunked)",
    )
    group.add_argument(
        "--speed",
        dest="speeds",
        type=_list(str),
        metavar="LIST",
        help="of the clients in turn: full, 5MB/s, stall, trickle",
    )
    group.add_argument(
        "--rate", type=float, metavar="N", help="small requests a second (default: 100)"
    )
    group.add_argument(
        "--connections",
        choices=list(settings.CONNECTIONS),
        help="of the small requests: kept alive, a new one for each, or half of each "
        "(default: both)",
    )
    group.add_argument(
        "--repeat",
        type=int,
        metavar="N",
        help="measure each so many times; figures are medians (default: 1; of --stalled 7 pairs)",
    )
    group.add_argument(
        "--tax",
        type=_number_of("pairs"),
        nargs="?",
        const=10,
        metavar="PAIRS",
        help="instead: requests per second without a body, in that many pairs (10)",
    )
    group.add_argument(
        "--refusals",
        type=_number_of("clients"),
        nargs="?",
        const=100,
        metavar="CLIENTS",
        help="instead: that many clients (100) with large bodies that are refused unread",
    )
    group.add_argument(
        "--stalled",
        type=_number_of("clients"),
        nargs="?",
        const=500,
        metavar="CLIENTS",
        help="instead: one fast upload without and with that many (500) stalled clients",
    )
    group.add_argument(
        "--no-warm-up",
        dest="warm_up",
        action="store_false",
        help="measure each server from its first request on",
    )
    group.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of the random bytes and of the moments of small requests (default: 1)",
    )
    group.add_argument(
        "--sha256",
        dest="verify_sha256",
        action="store_true",
        help="compare the digest of what arrived, and not its size alone",
    )
    group.add_argument(
        "--deadline",
        type=_value(parse_seconds),
        metavar="TIME",
        help="of one measurement (default: 300s; of refusals 45s)",
    )
    group = made.add_argument_group("refused and stalled clients")
    group.add_argument(
        "--kinds",
        type=_list(str),
        metavar="LIST",
        help=f"of the refused clients in turn (default: {','.join(refused.KINDS)})",
    )
    group.add_argument(
        "--send-all-size",
        type=_value(parse_size),
        metavar="SIZE",
        help="content of one request of send-all (default: 8MiB; of the others: --size, 2GiB)",
    )
    group.add_argument("--status", type=int, help="of the refusal (default: 401)")
    group.add_argument(
        "--held",
        type=_value(parse_size),
        metavar="SIZE",
        help="sent by each stalled client, of --size, 100MB (default: 200kB)",
    )
    group = made.add_argument_group("the servers that are started")
    group.add_argument(
        "--workers", type=int, metavar="N", help="processes of each server (default: 1)"
    )
    group.add_argument(
        "--loop", choices=settings.LOOPS, help="gevent's event loop (default: gevent's own choice)"
    )
    group.add_argument(
        "--port", type=int, metavar="N", help="that they listen on (default: a free one)"
    )
    group.add_argument("--tls", action="store_true", help="with a certificate made for the run")
    group.add_argument("--http2", action="store_true", help="HTTP/2, over TLS")
    group.add_argument(
        "--behind",
        choices=settings.PROXIES,
        help="a real nginx in front: receives bodies whole, or passes them on",
    )
    group = made.add_argument_group("a running server of your own, instead of those")
    group.add_argument(
        "--url",
        dest="urls",
        action="append",
        metavar="URL",
        help="http://host:port; may be given twice, to compare. Nothing but the "
        "hosts named so is contacted",
    )
    group.add_argument(
        "--upload-path",
        metavar="PATH",
        help="that bodies are sent to (default: /upload, or /raw for --body raw and chunked; for "
        "--refusals /refuse)",
    )
    group.add_argument("--field", metavar="NAME", help="of the form's files (default: file)")
    group.add_argument(
        "--ping-path", metavar="PATH", help="of the small requests (default: /ping)"
    )
    group.add_argument(
        "--header",
        dest="headers",
        action="append",
        type=_header,
        metavar="'NAME: VALUE'",
        help="with every request, for example credentials",
    )
    group.add_argument("--insecure", action="store_true", help="trust any certificate")
    group = made.add_argument_group("results")
    group.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        default=DEFAULT_REPORT,
        help="the report (default: report.html)",
    )
    group.add_argument(
        "--no-html", dest="html", action="store_const", const=None, help="write no report"
    )
    group.add_argument("--json", type=Path, metavar="FILE", help="figures and all samples")
    group.add_argument("--png", type=Path, metavar="FILE", help="the picture")
    group.add_argument(
        "--assert",
        dest="assertions",
        metavar="LIST",
        help="for example 'p99<25ms,ratio>=2': exit status 1 if it does not hold; "
        f"of {', '.join(METRICS)}",
    )
    return made


def _number_of(noun: str) -> Callable[[str], int]:
    """At least one of them."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not int(text):
            raise ValueError(f"{text!r} is no number of {noun}")
        return int(text)

    return _value(parse)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no header of the form 'Name: value'")
    return name.strip(), value.strip()


def _value(parse: Callable[[str], T]) -> Callable[[str], T]:
    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _list(parse: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    def parsed(text: str) -> tuple[T, ...]:
        return tuple(_value(parse)(item.strip()) for item in text.split(",") if item.strip())

    return parsed
