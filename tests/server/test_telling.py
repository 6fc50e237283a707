"""What is said while files are sent."""

from __future__ import annotations

import pytest

from cooperative_upload.server.telling import Bars, Lines, Silence, Teller


def test_a_line_now_and_then_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 1.0, 5.5, 6.0, 11.0])
    with Lines(clock=lambda: next(times)) as tell:
        tell.file("a.bin", 4_000_000_000, 1_000_000_000)
        for _ in range(4):
            tell.sent(250_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "a.bin: 1.5 GB of 4.0 GB (38%), 90.9 MB/s, 0:28 left",
        "a.bin: 2.0 GB of 4.0 GB (50%), 90.9 MB/s, 0:22 left",
    ]


def test_of_unknown_size_no_end_is_foretold(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 10.0])
    with Lines(clock=lambda: next(times)) as tell:
        tell.file("the standard input", None)
        tell.sent(5_000_000)
    assert capsys.readouterr().err == "the standard input: 5.0 MB, 500.0 kB/s\n"


@pytest.mark.parametrize("make", [Silence, Lines, lambda: Bars([10, None]), lambda: Bars([])])
def test_all_tell_the_same_moments(
    make: type[Silence], capsys: pytest.CaptureFixture[str]
) -> None:
    tell: Teller = make()
    with tell:
        for size in (10, None):
            tell.file("[bold]a", size, 0)
            tell.sent(10)
            tell.storing()
            tell.stored()
        tell.stored()  # one that was never begun: it could not be opened
        tell.say("[bold] something")
    assert "[bold] something\n" in capsys.readouterr().err
