"""How fast a client sends: a decision from numbers alone, with the clock passed in.

full        as fast as the server takes it
5MB/s       that many bytes a second, evenly
stall       half of the body at full speed, then silence for 5 s, then the rest
trickle     1 KiB ten times a second, of a body that takes 10 s so
hold:200kB  that much at full speed, and then nothing more
"""

from __future__ import annotations

import math
from typing import Protocol

from loadtest.units import parse_size

STALL_SECONDS = 5.0  # longer than a retransmission, shorter than a server's usual 30 s timeout
TRICKLE_BLOCK = 1024  # bytes
TRICKLE_INTERVAL = 0.1  # seconds
TRICKLE_SIZE = 100 * 1024  # bytes of content
STEADY_INTERVAL = 0.01  # seconds between two sends of a client with a given speed
UNLIMITED = 1 << 62
HOLD = "hold:"


class Pace(Protocol):
    """One request's speed."""

    def allowance(self, elapsed: float, sent: int) -> int:
        """How many bytes may go out now, `elapsed` seconds after the start, with `sent` gone."""

    def next_time(self, elapsed: float, sent: int) -> float:
        """When more may go out, in seconds after the start, if the allowance is 0 now."""


class Full:
    """No limit."""

    def allowance(self, elapsed: float, sent: int) -> int:
        return UNLIMITED

    def next_time(self, elapsed: float, sent: int) -> float:
        return elapsed


class Steady:
    """`block` bytes each `interval` seconds."""

    def __init__(self, block: int, interval: float) -> None:
        self.block = max(1, block)
        self.interval = interval

    def allowance(self, elapsed: float, sent: int) -> int:
        # The small term: at the time that next_time() gave, the next block must be due.
        due = (math.floor(elapsed / self.interval + 1e-6) + 1) * self.block
        return max(0, due - sent)

    def next_time(self, elapsed: float, sent: int) -> float:
        return (sent // self.block) * self.interval


class Stall:
    """Half of `length` at once, silence, then the rest.

    The silence begins when the first half has gone out, which only the caller knows: it is the
    first time that `allowance` is asked with half of the bytes sent.
    """

    def __init__(self, length: int, silence: float = STALL_SECONDS) -> None:
        self.half = length // 2
        self.silence = silence
        self.until: float | None = None

    def allowance(self, elapsed: float, sent: int) -> int:
        if sent < self.half:
            return self.half - sent
        if self.until is None:
            self.until = elapsed + self.silence
        return UNLIMITED if elapsed >= self.until else 0

    def next_time(self, elapsed: float, sent: int) -> float:
        return elapsed if self.until is None else self.until


class Hold:
    """`amount` bytes at once, and nothing ever after."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def allowance(self, elapsed: float, sent: int) -> int:
        return max(0, self.amount - sent)

    def next_time(self, elapsed: float, sent: int) -> float:
        return math.inf


def hold(amount: int) -> str:
    """The speed of a client that sends `amount` bytes and no more."""
    return f"{HOLD}{amount}"


def size_at(speed: str, size: int) -> int:
    """What a client of `speed` sends where one at full speed sends `size` bytes."""
    return min(size, TRICKLE_SIZE) if speed == "trickle" else size


def make_pace(speed: str, length: int) -> Pace:
    """The pace that `speed` names, for a body of `length` bytes. ValueError if it names none."""
    if speed == "full":
        return Full()
    if speed == "stall":
        return Stall(length)
    if speed == "trickle":
        return Steady(TRICKLE_BLOCK, TRICKLE_INTERVAL)
    if speed.startswith(HOLD):
        return Hold(parse_size(speed.removeprefix(HOLD)))
    if not speed.endswith("/s"):
        raise ValueError(f"{speed!r} is no speed (full, stall, trickle, or for example 5MB/s)")
    per_second = parse_size(speed.removesuffix("/s"))
    return Steady(round(per_second * STEADY_INTERVAL), STEADY_INTERVAL)
