"""What can go wrong, as sentences for the person at the terminal, and the exit status of each.

Status 0: measured, all is well. 1: an assertion of `--assert` does not hold. 2: the command
line makes no sense (argparse's own status). 3: a fault while measuring. 128 + n: ended by
signal n (130 is Ctrl-C).
"""

from __future__ import annotations


class LoadTestError(Exception):
    """A fault while measuring. The message is one whole sentence; details follow on new lines."""

    status = 3


class UsageError(LoadTestError):
    """The command line asks for something that cannot be done."""

    status = 2


class AssertionsFailed(LoadTestError):
    """The measurement is sound, and a figure is not what `--assert` demands."""

    status = 1


def with_log(sentence: str, tail: str) -> str:
    """The sentence, and beneath it the end of the log, indented."""
    if not tail.strip():
        return f"{sentence}\n  (its log is empty)"
    return sentence + "\n" + "\n".join("  | " + line for line in tail.rstrip().splitlines())
