"""UploadCollector: what it tells, by names and in formats that Prometheus understands."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import Any

import pytest
from checkout import MONITORING_PAGE
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from cooperative_upload.monitoring import board, monitor
from cooperative_upload.monitoring.prometheus import COUNTERS, NOW, UploadCollector

PAGE = MONITORING_PAGE.read_text()


@pytest.fixture
def sheet(monkeypatch: pytest.MonkeyPatch) -> board.Sheet:
    """That of this process, on a board of its own."""
    monkeypatch.setattr(monitor, "_board", board.Board(3))
    monkeypatch.setattr(monitor, "_process", None)
    return monitor.current_sheet()


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(UploadCollector())
    return registry


def scraped(registry: CollectorRegistry) -> dict[str, Metric]:
    text = generate_latest(registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"cooperative_upload_{name}", labels)


# Names


@pytest.mark.usefixtures("sheet")
def test_the_documented_metrics_are_there(registry: CollectorRegistry) -> None:
    """By name and type, and no other."""
    section = PAGE.partition("\n## Prometheus\n")[2].partition("\n## ")[0]
    documented = dict(re.findall(r"^\| `(cooperative_upload_\w+)` \| (\w+) \|", section, re.M))
    told = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in scraped(registry).values()
    }
    assert told == documented
    used = re.findall(r"cooperative_upload_\w+", section)  # also in what to alert on
    assert set(used) == documented.keys()


@pytest.mark.usefixtures("sheet")
def test_names_keep_the_rules(registry: CollectorRegistry) -> None:
    """Those of Prometheus' own linter: a prefix, base units, suffixes, a text for each."""
    for family in scraped(registry).values():
        assert family.name.startswith("cooperative_upload_")
        assert re.fullmatch("[a-z_]+", family.name)
        assert not re.search(
            "_(ms|milliseconds|minutes|kb|mb|gauge|counter|histogram)(_|$)", family.name
        )
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
        assert re.fullmatch("[A-Z].*[.]", family.documentation), family


@pytest.mark.usefixtures("sheet")
def test_no_label_tells_uploads_or_workers_apart(registry: CollectorRegistry) -> None:
    samples = [sample for family in scraped(registry).values() for sample in family.samples]
    labels = {label for sample in samples for label in sample.labels}
    assert labels == {"ending", "le"}
    assert len(samples) < 100


@pytest.mark.usefixtures("sheet")
def test_it_is_valid_openmetrics(registry: CollectorRegistry) -> None:
    """Whose parser is strict about names, units, buckets and types."""
    write: Any = exposition.generate_latest  # without type hints, both
    read: Any = openmetrics.text_string_to_metric_families
    families = {each.name: each for each in read(write(registry).decode())}
    assert families.keys() == scraped(registry).keys()
    units = {name: each.unit for name, each in families.items() if each.unit}
    assert units == {
        name: name.rpartition("_")[2] for name in families if name.endswith(("_seconds", "_bytes"))
    }


@pytest.mark.usefixtures("sheet")
def test_the_texts_are_the_board_s(registry: CollectorRegistry) -> None:
    families = scraped(registry)
    for ending, meaning in board.ENDINGS.items():
        assert f"{ending}: {meaning}" in families["cooperative_upload_bodies"].documentation
    for event, (name, _) in COUNTERS.items():
        told = families[f"cooperative_upload_{name}"].documentation
        assert told.lower() == f"{board.EVENTS[event]}.".lower()


# Values


def test_every_number_has_its_metric(sheet: board.Sheet, registry: CollectorRegistry) -> None:
    """And tells that number, not another."""
    for n, name in enumerate(board.NUMBERS):
        sheet.add(name, 100 + n)
    for n, name in enumerate(board.NUMBERS):
        if name in board.ENDINGS:
            told = value(registry, "bodies_total", ending=name)
        elif name in board.EVENTS:
            told = value(registry, f"{COUNTERS[name][0]}_total")
        else:
            told = value(registry, NOW[name])
        assert told == 100 + n, name


@pytest.mark.parametrize(
    ("kept_as", "name", "bounds"),
    [
        ("lag", "loop_lag_seconds", board.LAG_BOUNDS),
        ("arrival", "arrival_seconds", board.DURATION_BOUNDS),
        ("turn_wait", "turn_wait_seconds", board.DURATION_BOUNDS),
    ],
)
def test_histograms(
    sheet: board.Sheet,
    registry: CollectorRegistry,
    kept_as: str,
    name: str,
    bounds: tuple[float, ...],
) -> None:
    """A bucket counts all that is not above its bound, which belongs to it."""
    values = [0.0, *bounds, bounds[-1] * 10]
    for each in values:
        getattr(sheet, kept_as).observe(bounds, each)
    buckets = {
        float(sample.labels["le"]): sample.value
        for sample in scraped(registry)[f"cooperative_upload_{name}"].samples
        if sample.name.endswith("_bucket")
    }
    limits = [*bounds, float("inf")]
    assert buckets == {limit: sum(each <= limit for each in values) for limit in limits}
    assert value(registry, f"{name}_count") == len(values)
    assert value(registry, f"{name}_sum") == pytest.approx(sum(values))


@pytest.mark.usefixtures("sheet")
def test_uploads_in_progress(registry: CollectorRegistry) -> None:
    """Their bytes move from the gauge to the counter when they end."""
    uploads = [monitor.Upload("PUT", "/", "127.0.0.1", None) for _ in range(2)]
    uploads[0].record.received, uploads[1].record.received = 30, 5
    assert value(registry, "uploads_in_progress") == 2
    assert value(registry, "in_progress_bytes") == 35
    assert value(registry, "received_bytes_total") == 0
    uploads[0].ended("complete", 200)
    assert value(registry, "uploads_in_progress") == 1
    assert value(registry, "in_progress_bytes") == 5
    assert value(registry, "received_bytes_total") == 30
    assert value(registry, "bodies_total", ending="complete") == 1


def test_the_loop_that_has_been_silent_longest(
    sheet: board.Sheet, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 where nothing looks."""
    assert value(registry, "loop_silent_seconds") == 0
    assert value(registry, "workers") == 1
    sheet.alive = time.monotonic() - 7
    silent: Any = value(registry, "loop_silent_seconds")
    assert 7 <= silent < 60
    other = board.Sheet()
    other.pid, other.began, other.alive = 1, 1.0, time.monotonic()
    monkeypatch.setattr(monitor.current_board(), "sheets", lambda: [other, sheet])
    silent = value(registry, "loop_silent_seconds")
    assert 7 <= silent < 60
    assert value(registry, "workers") == 2


# Registries


@pytest.mark.usefixtures("sheet")
def test_registering_twice_is_refused(registry: CollectorRegistry) -> None:
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(UploadCollector())


@pytest.mark.usefixtures("sheet")
def test_one_metric_can_be_asked_for(registry: CollectorRegistry) -> None:
    """As /metrics?name[]= does."""
    restricted: Any = registry.restricted_registry(["cooperative_upload_turns_total"])
    assert [family.name for family in restricted.collect()] == ["cooperative_upload_turns"]


def test_registering_takes_no_place_on_the_board() -> None:
    """With the default registry, which asks at once what there is: the server has not forked."""
    program = """if True:
        from prometheus_client import REGISTRY, generate_latest
        from cooperative_upload.monitoring import monitor
        from cooperative_upload.monitoring.prometheus import UploadCollector
        REGISTRY.register(UploadCollector())
        assert monitor._process is None and monitor._board is None
        assert b"cooperative_upload_workers 0.0" in generate_latest(REGISTRY)
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
