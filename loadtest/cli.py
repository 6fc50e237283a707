"""The command line: from what was said to results, in the order in which they appear."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtest import interrupts
from loadtest.assertions import check, parse_assertions, refuse_impossible
from loadtest.errors import AssertionsFailed, LoadTestError, UsageError
from loadtest.measuring import session
from loadtest.parser import DEFAULT_REPORT, make_parser
from loadtest.reports import as_json, as_text, environment, report_refusals, report_stalled
from loadtest.reports.findings import Findings
from loadtest.reports.progress import Display
from loadtest.servers.deployments import server_names
from loadtest.settings import Settings, make_settings

FINDINGS = {
    "uploads": as_text.findings,
    "refusals": report_refusals.findings,
    "stalled": report_stalled.findings,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test; the exit status is that of errors.py."""
    options = vars(make_parser().parse_args(arguments))
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
