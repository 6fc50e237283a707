"""The command line: options, and the order in which results appear."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from rich.console import Console

from loadtest import bodies, report_text, servers, session, settings
from loadtest.errors import LoadTestError
from loadtest.progress import Display
from loadtest.settings import Settings
from loadtest.statistics import make_rows
from loadtest.units import format_size, parse_seconds, parse_size

T = TypeVar("T")
INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; the exit status is that of errors.py."""
    options = vars(parser().parse_args(arguments))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    console = Console(stderr=True)
    try:
        return _run(options, console)
    except LoadTestError as error:
        console.print(f"loadtest: {error}", highlight=False, markup=False, soft_wrap=True)
        return error.status
    except KeyboardInterrupt:
        console.print("loadtest: interrupted; nothing is left running.", highlight=False)
        return INTERRUPTED


def _end(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)  # unwinds, so that everything that was started is ended


def _run(options: dict[str, Any], console: Console) -> int:
    chosen = Settings(**{field.name: options[field.name] for field in fields(Settings)
                         if options.get(field.name) is not None})  # fmt: skip
    if chosen.tax:
        return _tax(chosen, console)
    with Display(console) as display:
        results = session.run(chosen, display.show)
    rows = make_rows(results.measurements)
    out = Console(width=200, highlight=False, soft_wrap=True)
    out.print(f"{format_size(results.total)} in each measurement; latencies in ms\n")
    out.print(report_text.table(rows))
    out.print()
    for line in report_text.by_connection(rows):
        out.print(line)
    for note in dict.fromkeys(report_text.notes(results.measurements)):
        out.print(f"Note: {note}")
    out.print(report_text.verdict(rows))
    if options["json"]:
        found = {"settings": asdict(chosen), "rows": [asdict(row) for row in rows]}
        options["json"].write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _tax(chosen: Settings, console: Console) -> int:
    def tell(pair: int, server: str, per_second: float) -> None:
        line = f"pair {pair + 1}/{chosen.tax} {server}: {per_second:,.0f} requests/s"
        console.print(line, highlight=False)

    out = Console(width=200, highlight=False, soft_wrap=True)
    out.print(report_text.tax_table(session.run_tax(chosen, tell)))
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m loadtest",
        description="Measures small requests beside large uploads. Without options: the stock "
        "gevent worker against the cooperative one, in about a minute.",
    )
    group = made.add_argument_group("what is measured")
    group.add_argument("--servers", type=_list(str), metavar="LIST",
                       help=f"of {', '.join(servers.NAMES)}, or name=dotted.Worker")
    group.add_argument("--uploads", type=_list(int), metavar="LIST",
                       help="numbers of uploads at once (default: 1,8)")
    group.add_argument("--total", type=_value(parse_size), metavar="SIZE",
                       help="content uploaded in each measurement (default: as much as fits into "
                       "the time)")
    group.add_argument("--size", type=_value(parse_size), metavar="SIZE",
                       help="content of one request (default: total / uploads)")
    group.add_argument("--seconds", type=float, help="the whole run is to take (default: 60)")
    group.add_argument("--idle-seconds", type=float, help="of the idle server (default: 3)")
    group.add_argument("--body", choices=bodies.KINDS)
    group.add_argument("--speed", dest="speeds", type=_list(str), metavar="LIST",
                       help="of the clients in turn: full, 5MB/s, stall, trickle")
    group.add_argument("--rate", type=float, help="small requests a second (default: 100)")
    group.add_argument("--connections", choices=list(settings.CONNECTIONS))
    group.add_argument("--repeat", type=int, metavar="N", help="times; figures are medians")
    group.add_argument("--tax", type=int, nargs="?", const=10, metavar="PAIRS",
                       help="instead: requests per second without a body, in that many pairs")
    group.add_argument("--no-warm-up", dest="warm_up", action="store_false")
    group.add_argument("--seed", type=int)
    group.add_argument("--sha256", dest="verify_sha256", action="store_true")
    group.add_argument("--deadline", type=_value(parse_seconds), metavar="TIME",
                       help="of one measurement (default: 300s)")
    group = made.add_argument_group("the servers that are started")
    group.add_argument("--workers", type=int, metavar="N")
    group.add_argument("--loop", choices=settings.LOOPS, help="gevent's event loop")
    group.add_argument("--port", type=int)
    group = made.add_argument_group("results")
    group.add_argument("--json", type=Path, metavar="FILE")
    return made


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


