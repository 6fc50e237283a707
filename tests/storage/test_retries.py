"""Retries: what is worth it is tried again, for so long and no longer."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest
from greenlets import in_greenlet
from hypothesis import given
from hypothesis import strategies as st

from cooperative_upload.storage.retries import pause_before, with_retries


class Fault(Exception):
    """What the calls below fail with."""


def failing(times: int) -> tuple[Callable[[], str], list[int]]:
    """A call that fails so often first, and its tries."""
    tries: list[int] = []

    def call() -> str:
        tries.append(len(tries))
        if len(tries) <= times:
            raise Fault(len(tries))
        return "done"

    return call, tries


def soon(error: Exception) -> float | None:
    return 0.0 if isinstance(error, Fault) else None


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_are_bounded(tries: int, portion: float) -> None:
    assert 0 <= pause_before(tries, portion) <= 10


def test_pauses_double_up_to_ten_seconds() -> None:
    assert [pause_before(tries, 1) for tries in range(1, 9)] == [
        0.1,
        0.2,
        0.4,
        0.8,
        1.6,
        3.2,
        6.4,
        10.0,
    ]
    assert pause_before(3, 0.5) == 0.2


@pytest.mark.parametrize("run", [in_greenlet, lambda function: function()])
def test_a_fault_that_passes_is_not_seen(
    run: Callable[[Callable[[], str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.01)
    call, tries = failing(3)
    assert run(lambda: with_retries(call, 30, soon)) == "done"
    assert len(tries) == 4


def test_what_is_not_worth_it_is_raised_at_once() -> None:
    call, tries = failing(1)
    with pytest.raises(Fault):
        with_retries(call, 30, lambda error: None)
    assert len(tries) == 1


def test_the_last_error_is_raised_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.1)
    call, tries = failing(1000)
    with pytest.raises(Fault) as caught:
        with_retries(call, 0.1, soon)
    assert len(tries) > 1
    assert caught.value.args == (len(tries),)


def test_a_store_that_wants_to_be_left_alone_for_longer_is_not_asked_again() -> None:
    call, tries = failing(1)
    with pytest.raises(Fault):
        with_retries(call, 5, lambda error: 6.0)
    assert len(tries) == 1


def test_others_run_during_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 1.0)
    order: list[str] = []
    call, _ = failing(1)

    def beside() -> None:
        order.append("beside")

    def retrying() -> None:
        gevent.spawn(beside)
        with_retries(call, 30, soon)
        order.append("done")

    in_greenlet(retrying)
    assert order == ["beside", "done"]
