"""The options, in the groups of --help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from loadtest import settings
from loadtest.assertions import METRICS
from loadtest.clients import bodies
from loadtest.options import (
    Option,
    choice,
    file,
    number,
    repeated,
    several,
    switch,
    value,
)
from loadtest.scenarios.known import SCENARIOS, SWITCHES
from loadtest.servers import kinds
from loadtest.units import parse_seconds, parse_size

DEFAULT_REPORT = Path("report.html")
DESCRIPTION = (
    "Measures small requests beside large uploads. Without options: the stock gevent worker "
    "against the cooperative one, in a minute or two."
)


def _header(text: str) -> tuple[str, str]:
    name, colon, content = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no header of the form 'Name: value'")
    return name.strip(), content.strip()


GROUPS: dict[str, Sequence[Option]] = {
    "what is measured": [
        several("--servers", str, f"of {', '.join(kinds.NAMES)}, or name=dotted.Worker"),
        several("--uploads", int, "numbers of uploads at once (default: 1,8)"),
        value(
            "--total",
            "SIZE",
            parse_size,
            "content uploaded in each measurement (default: as much as fits into the time)",
        ),
        value("--size", "SIZE", parse_size, "content of one request (default: total / uploads)"),
        value(
            "--seconds",
            "TIME",
            parse_seconds,
            "the whole run is to take, as far as it can be known before (default: 60s)",
        ),
        value(
            "--idle-seconds",
            "TIME",
            parse_seconds,
            "for which the idle server is measured (default: 3s)",
        ),
        choice(
            "--body",
            bodies.KINDS,
            "of an upload: a form with one large file, with many small parts, or the bare bytes "
            "with a Content-Length or in chunks (default: form)",
        ),
        switch(
            "--store",
            "have each raw body stored as a file, instead of counted (with --body raw, chunked)",
        ),
        several(
            "--speed",
            str,
            "of the clients in turn: full, 5MB/s, stall, trickle",
            dest="speeds",
        ),
        number("--rate", float, "small requests a second (default: 100)"),
        choice(
            "--connections",
            list(settings.CONNECTIONS),
            "of the small requests: kept alive, a new one for each, or half of each "
            "(default: both)",
        ),
        number(
            "--repeat",
            int,
            "measure each so many times; figures are medians (default: 1)",
        ),
        *SWITCHES,
        switch(
            "--no-warm-up",
            "measure each server from its first request on",
            dest="warm_up",
            action="store_false",
        ),
        number(
            "--seed", int, "of the random bytes and of the moments of small requests (default: 1)"
        ),
        switch(
            "--sha256",
            "compare the digest of what arrived, and not its size alone",
            dest="verify_sha256",
        ),
        value(
            "--deadline",
            "TIME",
            parse_seconds,
            "of one measurement (default: 300s)",
        ),
    ],
    **{known.title: known.options for known in SCENARIOS if known.options},
    "the servers that are started": [
        number("--workers", int, "processes of each server (default: 1)"),
        choice("--loop", settings.LOOPS, "gevent's event loop (default: gevent's own choice)"),
        number("--port", int, "that they listen on (default: a free one)"),
        switch("--tls", "with a certificate made for the run"),
        switch("--http2", "HTTP/2, over TLS"),
        choice(
            "--behind",
            settings.PROXIES,
            "a real nginx in front: receives bodies whole, or passes them on",
        ),
    ],
    "a running server of your own, instead of those": [
        repeated(
            "--url",
            "URL",
            "http://host:port; may be given twice, to compare. Nothing but the hosts named so is "
            "contacted",
            dest="urls",
        ),
        value(
            "--upload-path",
            "PATH",
            str,
            "that bodies are sent to (default: /upload, or /raw for --body raw and chunked)",
        ),
        value("--field", "NAME", str, "of the form's files (default: file)"),
        value("--ping-path", "PATH", str, "of the small requests (default: /ping)"),
        repeated(
            "--header",
            "'NAME: VALUE'",
            "with every request, for example credentials",
            dest="headers",
            type=_header,
        ),
        switch("--insecure", "trust any certificate"),
    ],
    "results": [
        file("--html", "the report (default: report.html)", default=DEFAULT_REPORT),
        switch("--no-html", "write no report", dest="html", action="store_const", const=None),
        file("--json", "figures and all samples"),
        file("--png", "the picture"),
        Option(
            "--assert",
            "for example 'p99<25ms,ratio>=2': exit status 1 if it does not hold; "
            f"of {', '.join(METRICS)}",
            {"dest": "assertions", "metavar": "LIST"},
        ),
    ],
}


def make_parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m loadtest", description=DESCRIPTION)
    notes: dict[str, list[str]] = {}
    for scenario in SCENARIOS:
        for name, note in scenario.notes.items():
            notes.setdefault(name, []).append(note)
    for title, options in GROUPS.items():
        group = made.add_argument_group(title)
        for option in options:
            option.add_to(group, "; ".join(notes.get(option.name, ())))
    return made
