"""What is kept of an error when its request has ended."""

from __future__ import annotations

from cooperative_upload.exchange.ending import let_go


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """It has a traceback, and what it was raised from."""
    try:
        raise error from cause
    except Exception as caught:
        return caught


def test_errors_in_a_circle() -> None:
    """Python lets an application make one; to follow it for ever would stop the worker."""
    first, second = raised(ValueError()), raised(ValueError())
    first.__cause__, second.__cause__ = second, first
    alone = raised(ValueError())
    alone.__context__ = alone.__cause__ = alone
    let_go(first, None, alone)
    assert [error.__traceback__ for error in (first, second, alone)] == [None] * 3


def test_both_the_cause_and_the_context() -> None:
    """`raise ... from` in a handler leaves the frames of both."""
    cause, context = raised(ValueError()), raised(ValueError())
    error = raised(ValueError(), cause)
    error.__context__ = context
    let_go(error)
    assert [each.__traceback__ for each in (error, cause, context)] == [None] * 3
