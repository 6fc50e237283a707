"""The one list of the scenarios, and which of them the command line means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from loadtest.errors import UsageError
from loadtest.scenarios import refusals, stalled, storage, tax, uploads
from loadtest.scenarios.contract import Scenario
from loadtest.settings import Settings

# In the order of --help.
SCENARIOS = (
    uploads.SCENARIO,
    tax.SCENARIO,
    refusals.SCENARIO,
    stalled.SCENARIO,
    storage.SCENARIO,
)
SWITCHES = [scenario.switch for scenario in SCENARIOS if scenario.switch]
_FLAGS = {"speeds": "speed", "verify_sha256": "sha256"}


def find_scenario(said: Mapping[str, Any]) -> Scenario:
    """The one whose switch was given. Raises UsageError for two of them."""
    found = [each for each in SCENARIOS if each.switch and said.get(each.switch.name)]
    if len(found) > 1:
        raise UsageError(f"--{found[0].name} and --{found[1].name} are measured one at a time.")
    return found[0] if found else SCENARIOS[0]


def make_settings(said: Mapping[str, Any]) -> Settings:
    """What was said, by the names of settings, and for all else the scenario's defaults.

    Raises UsageError if something was said that the scenario does not know.
    """
    scenario = find_scenario(said)
    own = {field.name for field in fields(scenario.settings)}
    for name, value in said.items():
        foreign = name not in own or name in scenario.meaningless
        if foreign and value != _default(name, scenario):
            flag = _FLAGS.get(name, name.replace("_", "-"))
            raise UsageError(f"--{flag} means nothing to the scenario of {scenario.name}.")
    return scenario.settings(**{name: said[name] for name in said if name in own})


def setting_names() -> set[str]:
    """Of all scenarios."""
    return {field.name for scenario in SCENARIOS for field in fields(scenario.settings)}


def _default(name: str, scenario: Scenario) -> Any:
    """In this scenario, or where it is known."""
    known = (each.settings for each in (scenario, *SCENARIOS))
    return next(
        field.default for settings in known for field in fields(settings) if field.name == name
    )
