"""How many cases the fuzz tests run, in which portions, and how fast.

By default a few, so that they are tests like all others. FUZZ_EXAMPLES=100000 in the environment
(`make fuzz` sets it) makes each test that needs no server run so many, and those that do in
proportion.
"""

from __future__ import annotations

import functools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Cases of a test that needs no server, where FUZZ_EXAMPLES does not say how many.
USUAL = 200

# Hypothesis remembers all cases of a run, and slows down with them.
PORTION = 500

_WANTED = os.environ.get("FUZZ_EXAMPLES")

_cases: defaultdict[str, int] = defaultdict(int)
_seconds: defaultdict[str, float] = defaultdict(float)

Test = Callable[..., None]


def fuzzed(cases: st.SearchStrategy[Any], usual: int = USUAL) -> Callable[[Test], Test]:
    """Run a test on generated cases, each of which it takes as `case`.

    usual: how many, where FUZZ_EXAMPLES does not say otherwise.
    """
    wanted = usual if _WANTED is None else max(1, int(_WANTED) * usual // USUAL)
    portions = -(-wanted // PORTION)
    configured = settings(
        max_examples=-(-wanted // portions),
        deadline=None,
        # A campaign would repeat itself.
        derandomize="CI" in os.environ and _WANTED is None,
        print_blob=True,
        # Bodies are large, servers are slow, and fixtures are meant for all cases of a portion.
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
            HealthCheck.filter_too_much,
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def counted(*arguments: Any, **more: Any) -> None:
            _cases[test.__name__] += 1
            test(*arguments, **more)

        in_portions = pytest.mark.parametrize("fuzz_portion", range(portions), indirect=True)
        run: Test = in_portions(configured(given(case=cases)(counted)))
        return pytest.mark.usefixtures("fuzz_portion")(run)

    return decorate


@contextmanager
def timed_portion(test: str) -> Iterator[None]:
    """Around a portion of the cases of a test."""
    began = time.perf_counter()
    yield
    _seconds[test] += time.perf_counter() - began


def campaign_report() -> list[str]:
    """A line for each test: cases, seconds, rate. Empty without FUZZ_EXAMPLES."""
    if _WANTED is None:
        return []
    return [
        f"{test}: {cases:,} cases in {seconds:,.0f} s, {cases / seconds:,.0f} a second"
        for test, seconds in _seconds.items()
        for cases in [_cases[test]]
    ]
