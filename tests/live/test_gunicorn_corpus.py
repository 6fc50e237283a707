"""gunicorn's own request corpora: accepted and refused as by the stock worker, byte for byte.

Everything is sent to both workers once for each gunicorn; the tests then look at what came back.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from corpus_application import READERS, READS_A_LINE, READS_ALL, READS_NOTHING
from gunicorn_corpus import CorpusFile, corpus_of, version_of
from live_server import Gunicorn
from source_distributions import Unavailable, do_without, download
from worker_comparison import (
    Address,
    Answers,
    Ending,
    addresses_of,
    both_workers,
    compare,
    outline,
)

READINGS = {"all": READS_ALL, "a line": READS_A_LINE, "nothing": READS_NOTHING}
KEPT, NOT_KEPT = "kept", "not kept"

# Pairs of servers at once: while one starts or ends, others work.
PAIRS = 3


class Situation(NamedTuple):
    """In what a file is sent."""

    connection: str  # whether the servers keep it between two requests
    reading: str
    ending: Ending

    def __str__(self) -> str:
        return f"{self.connection}, {self.reading}, {self.ending.value}"


SITUATIONS = [
    *(Situation(KEPT, *rest) for rest in itertools.product(READINGS, Ending)),
    *(Situation(NOT_KEPT, reading, Ending.PIPELINED) for reading in READINGS),
]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Files that our worker answers otherwise, on purpose, and in which situations.

    stock, ours: the outlines of the answers.
    """

    names: tuple[str, ...] = ()
    stock: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    connections: tuple[str, ...] = (KEPT, NOT_KEPT)
    readings: tuple[str, ...] = tuple(READINGS)
    endings: tuple[Ending, ...] = tuple(Ending)

    def applies_to(self, situation: Situation) -> bool:
        return (
            situation.connection in self.connections
            and situation.reading in self.readings
            and situation.ending in self.endings
        )


def closed_behind_unread_chunks(
    *names: str, requests: int = 1, answered: int = 1
) -> list[Difference]:
    """Nobody knows how long the rest of a chunked body is: behind its response we hang up.

    requests: how many there are in the file.
    answered: how many are, up to and with the first that has a chunked body.
    """
    ours = (*["200 keep-alive"] * (answered - 1), "200 close")
    stock = ("200 keep-alive",) * requests
    unread = replace(UNREAD, names=names, stock=stock, ours=ours, endings=(Ending.NOTHING,))
    return [unread, replace(unread, stock=(*stock, "200 close"), endings=FOLLOWED)]


READ = ("all", "a line")
FOLLOWED = (Ending.REQUEST, Ending.PIPELINED)
UNREAD = Difference(connections=(KEPT,), readings=("nothing",))

CHUNKED_IN_BOTH = ("valid/010", "valid/011", "valid/012", "valid/013")
CHUNKED_IN_THE_NEWEST = (
    *CHUNKED_IN_BOTH,
    "valid/029",
    "valid/030",
    "valid/rfc9112_chunked_ext_quoted_01",
    "valid/rfc9112_chunked_size_leading_zeros_01",
    "valid/rfc9112_chunked_size_uppercase_hex_01",
    "valid/rfc9112_smuggle_te_identity_chunked_01",
)
MALFORMED_IN_BOTH = tuple(f"invalid/chunked_{number:02}" for number in (1, 9, 10, 11, 12, 13))
MALFORMED_IN_THE_NEWEST = (
    *MALFORMED_IN_BOTH,
    "invalid/chunked_14",
    "invalid/rfc9110_trailer_forbidden_cl_01",
    "invalid/rfc9110_trailer_forbidden_host_01",
    "invalid/rfc9110_trailer_forbidden_te_01",
    "invalid/rfc9112_chunked_missing_final_crlf_01",
    "invalid/rfc9112_chunked_size_minus_sign_01",
    "invalid/rfc9112_chunked_size_plus_sign_01",
)
# The empty line behind the last chunk is missing, so that a next request is a bad trailer.
UNENDED_IN_THE_OLDEST = ("valid/029", "valid/030")

# A body that ends early is an error, however much of it has come. The file has half of one.
TRUNCATED = Difference(names=("valid/099",), ours=("400 close",), readings=("all",))

DIFFERENCES_IN_BOTH = [
    replace(TRUNCATED, stock=("200 keep-alive",), connections=(KEPT,)),
    replace(TRUNCATED, stock=("200 close",), connections=(NOT_KEPT,)),
    *closed_behind_unread_chunks("valid/023", requests=2),
    *closed_behind_unread_chunks("valid/pp_02", requests=2, answered=2),
]
DIFFERENCES = {
    "newest": [
        *DIFFERENCES_IN_BOTH,
        *closed_behind_unread_chunks(*CHUNKED_IN_THE_NEWEST),
        # The sentence of our 400 says how far the body came.
        Difference(
            names=MALFORMED_IN_THE_NEWEST, stock=("400 close",), ours=("400 close",), readings=READ
        ),
        # The stock worker sends a second answer, which is taken for that to the next request.
        replace(
            UNREAD,
            names=MALFORMED_IN_THE_NEWEST,
            stock=("200 keep-alive", "400 close"),
            ours=("200 close",),
        ),
    ],
    "oldest": [
        *DIFFERENCES_IN_BOTH,
        *closed_behind_unread_chunks(*CHUNKED_IN_BOTH),
        # The stock worker hangs up without a word, or keeps a connection that it then closes.
        Difference(names=MALFORMED_IN_BOTH, stock=(), ours=("400 close",), readings=READ),
        replace(UNREAD, names=MALFORMED_IN_BOTH, stock=("200 keep-alive",), ours=("200 close",)),
        # As in the newest: the sentence, unread chunks, and the second answer.
        Difference(
            names=UNENDED_IN_THE_OLDEST,
            stock=("400 close",),
            ours=("400 close",),
            readings=READ,
            endings=FOLLOWED,
        ),
        replace(
            UNREAD,
            names=UNENDED_IN_THE_OLDEST,
            stock=("200 keep-alive",),
            ours=("200 close",),
            endings=(Ending.NOTHING,),
        ),
        replace(
            UNREAD,
            names=UNENDED_IN_THE_OLDEST,
            stock=("200 keep-alive", "400 close"),
            ours=("200 close",),
            endings=FOLLOWED,
        ),
    ],
}

# There is no fault in it as long as nothing follows.
HEADERS_BREAK_OFF = "invalid/001"


@pytest.fixture(scope="session")
def corpus(gunicorn: Gunicorn, pytestconfig: pytest.Config) -> list[CorpusFile]:
    assert pytestconfig.cache is not None
    try:
        return corpus_of(gunicorn, pytestconfig.cache.mkdir("gunicorn-corpus"))
    except Unavailable as error:
        do_without(error)


@dataclass(frozen=True)
class Observed:
    """What the workers answered, and what ours wrote to their logs."""

    answers: dict[tuple[Situation, str], Answers]
    logs: list[str]

    def ours(self, situation: Situation, file: CorpusFile) -> bytes:
        return self.answers[situation, file.name].ours


@pytest.fixture(scope="session")
def observed(gunicorn: Gunicorn, corpus: list[CorpusFile]) -> Observed:
    """All files in all situations; without keep-alive those for the default settings alone."""
    groups: defaultdict[tuple[str, ...], list[CorpusFile]] = defaultdict(list)
    for file in corpus:
        groups[file.options].append(file)
    total = Observed({}, [])
    with ThreadPoolExecutor(PAIRS) as pool:
        jobs = [pool.submit(observe, gunicorn, NOT_KEPT, ("--keep-alive", "0"), groups[()])]
        jobs += [pool.submit(observe, gunicorn, KEPT, *group) for group in groups.items()]
        for job in jobs:
            total.answers.update(job.result().answers)
            total.logs.extend(job.result().logs)
    return total


def observe(
    gunicorn: Gunicorn, connection: str, options: tuple[str, ...], files: Iterable[CorpusFile]
) -> Observed:
    """What both workers answer to files that are meant for the same settings."""
    situations = [situation for situation in SITUATIONS if situation.connection == connection]
    application = "corpus_application:application"
    with both_workers(gunicorn, application, list(READERS), options) as (stock, ours):
        addresses = addresses_of(stock), addresses_of(ours)
        answers = {
            (situation, file.name): answers_to(file, situation, *addresses)
            for situation, file in itertools.product(situations, files)
        }
        return Observed(answers, [ours.log()])


def answers_to(
    file: CorpusFile, situation: Situation, stock: dict[str, Address], ours: dict[str, Address]
) -> Answers:
    host = READINGS[situation.reading]
    try:
        return compare(stock[host], ours[host], situation.ending.sendings(file.data))
    except TimeoutError as error:
        raise AssertionError(f"{file.name} hangs: {situation}") from error


def test_corpora_are_there(
    gunicorn: Gunicorn,
    corpus: list[CorpusFile],
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """All of both, each file with bytes of its own, and with the settings that it is meant for."""
    valid = sum(file.is_valid for file in corpus)
    invalid = len(corpus) - valid
    settings = len({file.options for file in corpus})
    counts = f"{valid} valid, {invalid} invalid, for {settings} different settings"
    record_testsuite_property(f"corpora of gunicorn {version_of(gunicorn)}", counts)
    assert valid > 40, counts
    assert invalid > 50, counts
    assert settings > 10, counts
    assert all(file.data and bool(file.accepted) == file.is_valid for file in corpus)


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_answers_are_those_of_the_stock_worker(
    situation: Situation, observed: Observed, gunicorn: Gunicorn, newest: Gunicorn
) -> None:
    """All that a client sees is the same, but for the differences that are listed."""
    listed = {
        name: (difference.stock, difference.ours)
        for difference in DIFFERENCES["newest" if gunicorn == newest else "oldest"]
        if difference.applies_to(situation)
        for name in difference.names
    }
    different = {
        name: (outline(answers.stock), outline(answers.ours))
        for (where, name), answers in observed.answers.items()
        if where == situation and answers.stock != answers.ours
    }
    assert set(different.items()) == set(listed.items())


def test_valid_requests_reach_the_application(
    corpus: list[CorpusFile], observed: Observed
) -> None:
    """With the method, the address and the body that gunicorn's own tests expect of its parser."""
    situation = Situation(KEPT, "all", Ending.NOTHING)
    for file in corpus:
        if file.is_valid and file.name not in TRUNCATED.names:
            expected = [seen_by_application(request) for request in file.accepted]
            assert reported(observed.ours(situation, file)) == expected, file.name


def seen_by_application(request: dict[str, str]) -> dict[str, Any]:
    body = request["body"].encode("latin-1")
    return {
        "method": request["method"],
        "uri": request["uri"],
        "sha256": hashlib.sha256(body).hexdigest(),
    }


def reported(answer: bytes) -> list[dict[str, Any]]:
    """What the application has told of the requests that it got."""
    reports = [json.loads(line) for line in answer.splitlines() if line.startswith(b"{")]
    return [
        {
            "method": report["environ"]["REQUEST_METHOD"],
            "uri": report["environ"]["RAW_URI"],
            "sha256": report["sha256"],
        }
        for report in reports
    ]


@pytest.mark.parametrize("ending", Ending, ids=lambda ending: ending.value)
def test_invalid_requests_are_refused(
    ending: Ending, corpus: list[CorpusFile], observed: Observed
) -> None:
    """With one error and the end of the connection: nothing behind it is taken for a request."""
    situation = Situation(KEPT, "all", ending)
    for file in corpus:
        if not file.is_valid:
            answer = outline(observed.ours(situation, file))
            silent = file.name == HEADERS_BREAK_OFF and ending is Ending.NOTHING
            expected = [()] if silent else [("400 close",), ("414 close",), ("431 close",)]
            assert answer in expected, file.name


def test_no_traceback_is_logged(observed: Observed) -> None:
    """A client's fault is not the server's."""
    for log in observed.logs:
        assert "Traceback" not in log, log


def test_pip_without_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is pip's, and no part of a file is left."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(Unavailable, match=r"gunicorn 25\.0\.0: .*No matching distribution"):
        download("gunicorn", "25.0.0", tmp_path / "gunicorn-25.0.0.tar.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip), ("true", pytest.fail)])
def test_corpora_that_are_not_there(
    ci: str, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skipped on a machine of one's own, a failure where it would go unseen."""
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome.Exception, match="no network"):
        do_without(Unavailable("no network"))
