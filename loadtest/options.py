"""The shapes of options: each option is a line of data that the command line gives to argparse."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """One option: its flag, what --help says of it, and what argparse is told besides."""

    flag: str
    help: str
    how: dict[str, Any]

    @property
    def name(self) -> str:
        """Under which its value is found."""
        return str(self.how.get("dest", self.flag.removeprefix("--").replace("-", "_")))

    def add_to(self, group: argparse._ActionsContainer, note: str = "") -> None:
        """`note` is added to what its help says in brackets at its end."""
        said = f"{self.help.removesuffix(')')}; {note})" if note else self.help
        group.add_argument(self.flag, help=said, **self.how)


def value(
    flag: str, metavar: str, parse: Callable[[str], object], help: str, **how: Any
) -> Option:
    """`parse` raises ValueError with a sentence for what makes no sense."""
    return Option(flag, help, {"type": checked(parse), "metavar": metavar, **how})


def number(flag: str, kind: type, help: str) -> Option:
    return Option(flag, help, {"type": kind, "metavar": "N"})


def several(flag: str, parse: Callable[[str], object], help: str, **how: Any) -> Option:
    """Values with commas between them."""
    return Option(flag, help, {"type": _list(parse), "metavar": "LIST", **how})


def switch(flag: str, help: str, **how: Any) -> Option:
    return Option(flag, help, {"action": "store_true", **how})


def choice(flag: str, choices: Sequence[str], help: str) -> Option:
    return Option(flag, help, {"choices": choices})


def repeated(flag: str, metavar: str, help: str, **how: Any) -> Option:
    """May be given several times."""
    return Option(flag, help, {"action": "append", "metavar": metavar, **how})


def file(flag: str, help: str, **how: Any) -> Option:
    return Option(flag, help, {"type": Path, "metavar": "FILE", **how})


def how_many(flag: str, noun: str, usual: int, help: str) -> Option:
    """At least one; `usual` if the flag stands alone."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not int(text):
            raise ValueError(f"{text!r} is no number of {noun}")
        return int(text)

    return value(flag, noun.upper(), parse, help, nargs="?", const=usual)


def checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """What `parse` says of a value is what the person at the terminal reads."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def _list(parse: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    def parsed(text: str) -> tuple[T, ...]:
        return tuple(checked(parse)(item.strip()) for item in text.split(",") if item.strip())

    return parsed
