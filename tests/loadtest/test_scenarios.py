"""What each scenario of the load test says of itself is of use to the command line."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from loadtest.assertions import METRICS
from loadtest.errors import UsageError
from loadtest.parser import make_parser
from loadtest.reports.metrics import COMMON
from loadtest.scenarios.contract import Scenario
from loadtest.scenarios.known import SCENARIOS, find_scenario, make_settings
from loadtest.settings import Settings

OF_ALL = {field.name for field in fields(Settings)}
each = pytest.mark.parametrize("scenario", SCENARIOS, ids=[known.name for known in SCENARIOS])


def chosen(scenario: Scenario) -> dict[str, Any]:
    """What its switch says where it stands alone."""
    return {scenario.switch.name: scenario.switch.how["const"]} if scenario.switch else {}


@each
def test_its_options_are_its_settings(scenario: Scenario) -> None:
    """No option without a setting, and no setting that nobody can choose."""
    switches = [scenario.switch] if scenario.switch else []
    own = {field.name for field in fields(scenario.settings)} - OF_ALL
    assert {option.name for option in (*switches, *scenario.options)} == own


@each
def test_what_it_says_of_other_options_is_about_some(scenario: Scenario) -> None:
    assert set(scenario.meaningless) <= OF_ALL
    assert set(scenario.notes) <= OF_ALL
    said = " ".join(make_parser().format_help().split())
    # Several scenarios may have something to say of one option.
    for note in scenario.notes.values():
        assert re.search(rf"; {re.escape(note)}[;)]", said), note


@each
def test_its_switch_chooses_it(scenario: Scenario) -> None:
    assert scenario.name == (scenario.switch.name if scenario.switch else "uploads")
    said = chosen(scenario)
    assert find_scenario(said) is scenario
    made = make_settings(said)
    assert type(made) is scenario.settings
    made.validate()


@each
def test_an_option_of_another_is_refused_unless_it_says_the_default(scenario: Scenario) -> None:
    said = chosen(scenario)
    for other in SCENARIOS:
        for option in other.options if other is not scenario else ():
            usual = next(f.default for f in fields(other.settings) if f.name == option.name)
            make_settings({**said, option.name: usual})
            with pytest.raises(UsageError, match=f"{option.flag} means nothing to the scenario"):
                make_settings({**said, option.name: "another"})


def test_each_metric_has_one_meaning() -> None:
    names = [metric.name for known in SCENARIOS for metric in known.metrics]
    names += [metric.name for metric in COMMON]
    assert len(names) == len(set(names))
    assert set(METRICS) == {*names, "ratio"}
