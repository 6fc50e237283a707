"""The command line: from what was said to results, in the order in which they appear."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtest import interrupts
from loadtest.assertions import check, parse_assertions, refuse_impossible
from loadtest.errors import AssertionsFailed, LoadTestError, UsageError
from loadtest.parser import DEFAULT_REPORT, make_parser
from loadtest.reports import as_json, as_text, environment
from loadtest.reports.findings import Findings
from loadtest.scenarios.contract import Scenario
from loadtest.scenarios.known import find_scenario, make_settings, setting_names
from loadtest.servers.deployments import server_names


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
    said = _said(options)
    scenario = find_scenario(said)
    chosen = make_settings(said)
    chosen.validate()
    demands = parse_assertions(options["assertions"] or "")
    refuse_impossible(demands, scenario, chosen, server_names(chosen))
    outputs = _outputs(options, scenario)
    _check_writable([*outputs.values()])
    found = scenario.run(chosen, console)
    print(as_text.render(found))
    _write(outputs, found, command)
    if found.faults:
        raise LoadTestError("Measured, but not everything went well; see the notes above.")
    failures = check(demands, found.rows)
    if failures:
        raise AssertionsFailed("\n".join(failures))
    return 0


def _said(options: dict[str, Any]) -> dict[str, Any]:
    """What was said on the command line, by the names of settings."""
    said = {name: value for name, value in options.items() if value is not None}
    # argparse collects repeated options in lists.
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in said.items()
        if name in setting_names()
    }


def _outputs(options: dict[str, Any], scenario: Scenario) -> dict[str, Path | None]:
    """The files that were asked for, by kind."""
    files: dict[str, Path | None] = {kind: options[kind] for kind in ("json", "html", "png")}
    if not scenario.without_report:
        return files
    if files["png"] or files["html"] not in (DEFAULT_REPORT, None):
        raise UsageError(scenario.without_report)
    return {"json": files["json"]}


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


def _write(outputs: dict[str, Path | None], found: Findings, command: str) -> None:
    """The files that were asked for; each appears whole or not at all."""
    facts = environment.describe()
    if file := outputs.get("json"):
        replace(file, as_json.render(found, facts).encode())
    if file := outputs.get("html"):
        from loadtest.reports import as_html  # matplotlib takes a second to import

        page = as_html.render(found, command=command, facts=facts)
        replace(file, page.encode())
        print(f"\nReport: {file}")
    if file := outputs.get("png"):
        from loadtest.reports import figures

        replace(file, figures.to_png(figures.timeline(found.measurements, figures.WIDE)))


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
