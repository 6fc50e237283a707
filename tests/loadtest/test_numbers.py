"""The load test's decisions from numbers alone: units, bodies, pace, plan, statistics, demands."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measurements import measurement, probe

from loadtest import assertions, units
from loadtest.clients import bodies, pace
from loadtest.clients.probes import KEEPALIVE, NEW, schedule
from loadtest.clients.uploads import Upload, judge
from loadtest.errors import UsageError
from loadtest.measuring import plan, statistics
from loadtest.measuring.measure import Speed
from loadtest.measuring.session import Results
from loadtest.measuring.statistics import Cost
from loadtest.reports import as_text
from loadtest.settings import Settings

BLOCK = bodies.random_block(1, 100_000)


def whole(body: bodies.Body) -> bytes:
    """The body, read as a client sends it."""
    data = bytearray()
    while len(view := body.view(len(data))):
        data += view
    return bytes(data)


# Units


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("64KiB", 65536), ("1.5MB", 1_500_000), ("3GB", 3 * 10**9), (" 2 g ", 2 * 10**9)],
)
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1TB", "0", "0.5", "1 2", "ten"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0091, "9.1 ms"),
        (0.045, "45 ms"),
        (0.9994, "999 ms"),
        (0.9999, "1.0 s"),
        (14.62, "14.6 s"),
    ],
)
def test_a_duration_has_three_digits_at_most(seconds: float, text: str) -> None:
    assert units.format_seconds(seconds) == text


def test_durations_are_read_with_their_unit() -> None:
    assert units.parse_seconds("25ms") == 0.025
    assert units.parse_seconds("1.5s") == 1.5
    with pytest.raises(ValueError, match="not a duration"):
        units.parse_seconds("3 days")


# Bodies


@given(size=st.integers(0, 300_000), kind=st.sampled_from(bodies.KINDS))
def test_a_body_is_as_long_and_holds_as_much_as_it_says(size: int, kind: str) -> None:
    body = bodies.make_body(kind, size, block=BLOCK)
    data = whole(body)
    assert len(data) == body.length
    assert body.file_size == size
    content = content_of(kind, data)
    assert len(content) == size
    assert hashlib.sha256(content).hexdigest() == body.sha256


def content_of(kind: str, data: bytes) -> bytes:
    """The bytes of the file or files in `data`, found by a parser of the test's own."""
    if kind == "raw":
        return data
    content = b""
    if kind == "chunked":
        while True:
            line, _, data = data.partition(b"\r\n")
            length = int(line, 16)
            content, data = content + data[:length], data[length + 2 :]
            if not length:
                assert not data
                return content
    delimiter = b"--" + bodies.BOUNDARY.encode()
    parts = (b"\r\n" + data).split(b"\r\n" + delimiter)
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    for part in parts[1:-1]:
        head, _, file = part.partition(b"\r\n\r\n")
        assert b'name="file"; filename=' in head
        content += file
    return content


def test_every_offset_of_a_body_can_be_read() -> None:
    body = bodies.make_body("form", 1000, block=BLOCK[:300])
    data = whole(body)
    for offset in range(body.length):
        view = bytes(body.view(offset))
        assert view
        assert data[offset:].startswith(view)
    assert not len(body.view(body.length))


def test_a_form_of_small_parts_stays_below_the_frameworks_limit_of_parts() -> None:
    size = bodies.request_size("form-small-parts", 10**9)
    body = bodies.make_body("form-small-parts", size, block=BLOCK)
    assert whole(body).count(b"filename=") <= 1000
    assert bodies.request_size("form", 10**9) == 10**9


def test_the_seed_decides_the_bytes() -> None:
    assert bodies.random_block(1, 100) == bodies.random_block(1, 100)
    assert bodies.random_block(1, 100) != bodies.random_block(2, 100)


# Pace


def simulate(chosen: pace.Pace, length: int) -> list[tuple[float, int]]:
    """When how many bytes go out, if every send takes all that is allowed."""
    now, sent, sends = 0.0, 0, []
    while sent < length:
        allowed = chosen.allowance(now, sent)
        if allowed:
            count = min(allowed, length - sent)
            sent += count
            sends.append((now, count))
        else:
            later = chosen.next_time(now, sent)
            assert later > now
            now = later
    return sends


def test_full_speed_is_one_send() -> None:
    assert simulate(pace.make_pace("full", 1000), 1000) == [(0.0, 1000)]


def test_a_speed_is_kept_evenly() -> None:
    sends = simulate(pace.make_pace("1MB/s", 2_000_000), 2_000_000)
    assert sends[-1][0] == pytest.approx(2.0, abs=0.02)
    assert {count for _, count in sends} == {10_000}


def test_a_trickling_client_is_slow_and_its_body_small() -> None:
    size = pace.size_at("trickle", 10**9)
    sends = simulate(pace.make_pace("trickle", size), size)
    assert sends[-1][0] == pytest.approx(10.0, abs=0.2)
    assert max(count for _, count in sends) == 1024
    assert pace.size_at("full", 10**9) == 10**9


def test_a_stalling_client_is_silent_in_the_middle() -> None:
    assert simulate(pace.make_pace("stall", 1000), 1000) == [(0.0, 500), (5.0, 500)]


def test_a_client_that_holds_back_sends_so_much_and_no_more() -> None:
    chosen = pace.make_pace(pace.hold(200_000), 10**8)
    assert chosen.allowance(0.0, 0) == 200_000
    assert chosen.allowance(0.0, 150_000) == 50_000
    for later in (0.0, 1e6):
        assert chosen.allowance(later, 200_000) == 0
        assert chosen.next_time(later, 200_000) == math.inf


@pytest.mark.parametrize("speed", ["fast", "5MB", "MB/s", "-1MB/s", "", "hold:200kB"])
def test_what_is_no_speed_is_refused(speed: str) -> None:
    with pytest.raises(UsageError):
        Settings(speeds=(speed,)).validate()


# Plan


def test_all_servers_are_measured_at_one_number_of_uploads_before_the_next() -> None:
    steps = plan.make_steps(Settings(uploads=(1, 8), repeat=2), ["a", "b"])
    once = [(server, clients) for clients in (0, 1, 8) for server in ("a", "b")]
    assert [(step.server, step.clients) for step in steps] == once * 2


@pytest.mark.parametrize("clients", [1, 3, 8, 128])
def test_the_total_is_divided_among_the_clients(clients: int) -> None:
    size = plan.make_size(Settings(total=10**9), clients, 10**9)
    assert size.requests == 1
    assert size.size * clients == pytest.approx(10**9, rel=1e-3)


def test_small_parts_are_sent_in_many_requests() -> None:
    size = plan.make_size(Settings(body="form-small-parts"), 2, 10**9)
    assert size.requests > 100
    assert size.requests * size.size * 2 == pytest.approx(10**9, rel=0.01)


def test_the_whole_run_takes_about_as_long_as_asked() -> None:
    settings = Settings(seconds=60)
    steps = plan.make_steps(settings, ["a", "b"])
    total = plan.choose_total(settings, steps, 300e6, 10**12)
    uploading = sum(step.clients > 0 for step in steps)
    assert 30 < uploading * total / 300e6 < 60


def test_a_small_disk_gets_a_small_total() -> None:
    settings = Settings()
    steps = plan.make_steps(settings, ["a"])
    assert plan.choose_total(settings, steps, 1e9, 300_000_000) <= 100_000_000
    with pytest.raises(UsageError, match=r"need 2\.00 GB and /tmp has 1\.00 GB"):
        plan.check_disk(2 * 10**9, 10**9, "/tmp")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (Settings(uploads=(-1,)), "cannot be negative"),
        (Settings(uploads=(1000,)), "too many"),
        (Settings(servers=("a", "a")), "named twice"),
        (Settings(rate=0), "rate"),
        (Settings(repeat=0), "once at least"),
        (Settings(http2=True), "--tls"),
        (Settings(ping_path="ping"), "slash"),
        (Settings(body="jpeg"), "kind of body"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changed: Settings, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        changed.validate()


def test_the_schedule_puts_one_request_into_each_interval() -> None:
    due = list(itertools.islice(schedule(100.0, 5.0, seed=3), 1000))
    assert due == sorted(due)
    assert [int((at - 5.0) * 100) for at in due] == list(range(1000))
    assert due == list(itertools.islice(schedule(100.0, 5.0, seed=3), 1000))


# Statistics


def test_percentiles_are_those_of_the_samples() -> None:
    latency = statistics.latency_of(i / 1000 for i in range(1, 1001))
    assert latency.count == 1000
    for found, expected in ((latency.p50, 0.5), (latency.p90, 0.9), (latency.p99, 0.99)):
        assert found == pytest.approx(expected, rel=0.002)
    assert latency.p999 == pytest.approx(0.999, rel=0.002)
    assert latency.max == pytest.approx(1.0, rel=0.002)
    assert statistics.latency_of([]).count == 0


def test_only_what_was_due_during_the_uploads_counts() -> None:
    run = replace(measurement(), probes=(probe(0.4, 9.0), probe(0.6, 0.001), probe(2.6, 9.0)))
    row = statistics.make_rows([run])[0]
    assert row.requests == 1
    assert row.worst == pytest.approx(0.001, rel=0.01)


def test_a_request_that_was_never_answered_counts_with_its_waiting_time() -> None:
    run = replace(measurement(), probes=(probe(0.6, 7.0, outcome="unanswered"),))
    row = statistics.make_rows([run])[0]
    assert row.unanswered == 1
    assert row.worst == pytest.approx(7.0, rel=0.01)


def test_a_row_is_the_median_of_its_runs_and_knows_the_worst() -> None:
    runs = [measurement(latencies=(value,), seconds=s) for value, s in
            ((0.001, 1.0), (0.003, 2.0), (0.9, 4.0))]  # fmt: skip
    row = statistics.make_rows(runs)[0]
    assert row.runs == 3
    assert row.latency.p99 == pytest.approx(0.003, rel=0.01)
    assert row.worst == pytest.approx(0.9, rel=0.01)
    assert row.mb_per_s == 500
    assert row.mb_per_cpu_s == 500
    assert row.memory_per_upload == 10 << 20


def test_latency_is_related_to_the_idle_server() -> None:
    idle = replace(measurement(clients=1, latencies=(0.002,)), clients=0, uploads=())
    rows = statistics.make_rows([idle, measurement(latencies=(0.006,))])
    assert [row.clients for row in rows] == [0, 1]
    assert rows[0].over_idle is None
    assert rows[1].over_idle == pytest.approx(3.0, rel=0.01)


def test_the_kinds_of_connections_are_told_apart() -> None:
    probes = (probe(0.6, 0.001, connection=KEEPALIVE), probe(0.7, 0.1, connection=NEW))
    row = statistics.make_rows([replace(measurement(), probes=probes)])[0]
    assert row.by_connection[KEEPALIVE].max == pytest.approx(0.001, rel=0.01)
    assert row.by_connection[NEW].max == pytest.approx(0.1, rel=0.01)


def test_the_verdict_compares_the_first_server_with_the_last() -> None:
    rows = statistics.make_rows(
        [
            measurement("old", latencies=(14.6,), seconds=5.8),
            measurement("new", latencies=(0.009,)),
        ]
    )
    expected = "Worst request 14.6 s on old, 9.0 ms on new; uploads 2.9 times as fast on new."
    assert as_text.verdict(rows) == expected
    assert "on new, beside 1 upload." in as_text.verdict(rows[1:])


def test_the_verdict_names_whoever_is_faster() -> None:
    """Not always the last; and nobody where nothing arrived."""
    quick, slow = measurement("quick", seconds=1.0), measurement("slow", seconds=5.0)
    verdict = as_text.verdict(statistics.make_rows([quick, slow]))
    assert verdict.endswith("; uploads 5.0 times as fast on quick.")
    nothing = replace(slow, uploads=())
    verdict = as_text.verdict(statistics.make_rows([quick, nothing]))
    assert verdict.endswith(" on slow.")
    assert "times as fast" not in verdict


def test_thousands_are_separated() -> None:
    """In the table, in sentences, and in what does not hold."""
    run = measurement("new", latencies=(0.0004,) * 1200, content=10**11)
    idle = measurement("new", 0, latencies=(0.0004,))
    (_, row) = statistics.make_rows([idle, replace(run, cost=Cost(1234.5, 0, 3 << 30))])
    row = replace(row, over_idle=5131.2, clients=1024, errors=2048)
    cells = dict(zip(as_text.HEADINGS, as_text.cells(row), strict=True))
    assert cells["uploads"] == "1,024"
    assert cells["pings"] == "1,200"
    assert cells["errors"] == "2,048"
    assert cells["p99/idle"] == "5,131.2"
    assert cells["CPU s"] == "1,234.5"
    assert cells["peak MiB"] == "3,072"
    assert not [cell for cell in cells.values() if re.search(r"\d{4}", cell)]
    demand = assertions.parse_assertions("MB/s>=1000000")
    assert f"does not hold: {row.mb_per_s:,.0f} on new" in assertions.check(demand, [row])[0]
    assert units.count(1024, "upload") == "1,024 uploads"


def test_the_table_pastes_as_markdown() -> None:
    found = as_text.findings(Results(Settings(), 10**9, (measurement(),)))
    lines = as_text.render_grid(found.tables[0]).splitlines()
    assert len(lines) == 3
    assert {line.count("|") for line in lines} == {len(as_text.HEADINGS) + 1}
    assert re.fullmatch(r"[|-]+", lines[1])


def test_the_speed_shown_is_that_of_the_last_second() -> None:
    speed = Speed()
    shown = [speed.update(i / 10, i * 10_000_000) for i in range(30)]
    assert shown[0] == 0.0
    assert shown[-1] == pytest.approx(100.0)
    assert speed.update(4.0, 290_000_000) < 50.0


# What a reader must know


def test_a_busy_client_is_named_as_the_bottleneck() -> None:
    notes = as_text.notes([replace(measurement(), client_load=0.98)])
    assert any("the upload client was the bottleneck" in note for note in notes)
    assert not as_text.notes([measurement()])


def test_late_probes_and_other_programs_are_reported() -> None:
    run = replace(measurement(latencies=(0.004,)), late=0.002, foreign_load=0.7)
    notes = "\n".join(as_text.notes([run]))
    assert "2.0 ms late" in notes
    assert "other programs used 0.7 cores" in notes


def test_what_several_runs_say_alike_is_said_once_with_the_worst_figure() -> None:
    runs = [replace(measurement(), foreign_load=load) for load in (0.4, 0.9, 0.1)]
    runs.append(replace(measurement("b"), foreign_load=0.3, workers_lost=2))
    assert as_text.notes(runs) == [
        "a with 1 upload: other programs used 0.9 cores meanwhile.",
        "b with 1 upload: other programs used 0.3 cores meanwhile.",
        "b with 1 upload: the server lost 2 workers.",
    ]


def test_faults_say_how_many_and_how_far() -> None:
    failed = Upload(0, 0.5, 1.0, 12_345, 10_000_000, 10_000_000, "cut (Broken pipe)")
    run = replace(
        measurement(), uploads=(failed,), probes=(probe(0.6, 1, outcome="answered 500"),)
    )
    assert as_text.faults(run) == [
        "1 of 1 uploads: cut (Broken pipe), after 12,345 of 10,000,000 bytes.",
        "1 of 1 small requests: answered 500.",
    ]


@pytest.mark.parametrize(
    ("status", "answer", "outcome"),
    [
        (200, b'{"size": 1000}', "ok"),
        (201, b"thanks", "ok"),
        (200, b'{"size": 999}', "the server received 999 of 1,000 bytes"),
        (413, b"", "refused with status 413"),
        (302, b"", "refused with status 302"),
    ],
)
def test_what_the_server_says_is_held_against_what_was_sent(
    status: int, answer: bytes, outcome: str
) -> None:
    body = bodies.make_body("raw", 1000, block=BLOCK)
    assert judge(status, answer, body, verify_sha256=False) == outcome


def test_a_wrong_digest_and_a_missing_one_are_found() -> None:
    body = bodies.make_body("raw", 1000, block=BLOCK)
    good = b'{"size": 1000, "sha256": "%s"}' % body.sha256.encode()
    assert judge(200, good, body, verify_sha256=True) == "ok"
    wrong = good.replace(body.sha256.encode(), b"0" * 64)
    assert judge(200, wrong, body, verify_sha256=True) == "the server's SHA-256 differs"
    assert judge(200, b'{"size": 1000}', body, verify_sha256=True) == "no SHA-256 in the answer"


# Demands


def rows_of_two() -> list[statistics.Row]:
    return statistics.make_rows(
        [
            measurement("old", latencies=(4.0,), seconds=4.0),
            measurement("new", latencies=(0.01,), seconds=1.0),
            measurement("new", 8, latencies=(0.02,), seconds=1.0),
        ]
    )


@pytest.mark.parametrize(
    "demand",
    ["p99<25ms", "p99@1<11ms", "ratio@1>=2", "old.p99>1s", "p99.9 < 25ms", "errors=0", "MB/s>=999",
     "max<1s, MiB/upload<=10", "new.MB/CPUs>100", "MiB<61"],
)  # fmt: skip
def test_demands_that_hold(demand: str) -> None:
    assert assertions.check(assertions.parse_assertions(demand), rows_of_two()) == []


def test_a_demand_that_does_not_hold_is_named_with_the_figure() -> None:
    found = assertions.check(assertions.parse_assertions("p99<15ms,ratio@1>=5"), rows_of_two())
    assert len(found) == 2
    assert found[0].startswith("p99<15ms does not hold: 20 ms on new with 8 uploads")
    assert found[1].startswith("ratio@1>=5 does not hold: 4 on new")


@pytest.mark.parametrize("text", ["p99", "p99<", "p98<1s", "p99<1MB", "ratio>=x", "p99@x<1s"])
def test_what_is_no_demand_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no assertion"):
        assertions.parse_assertions(text)


@pytest.mark.parametrize("demand", ["p99@5<1s", "other.p99<1s", "old.ratio>=1", "p99/idle<9"])
def test_a_demand_about_nothing_that_was_measured_is_refused(demand: str) -> None:
    with pytest.raises(UsageError):
        assertions.check(assertions.parse_assertions(demand), rows_of_two())
