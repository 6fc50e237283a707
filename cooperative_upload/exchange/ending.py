"""How a body ended: one count for each, and a line in the log for each that did not end well."""

from __future__ import annotations

from typing import Any

from ..body import CooperativeInput
from ..errors import RequestError, StorageError, progress
from ..monitoring import Upload, send_ended

# Endings that need no line in the log.
_ENDED_WELL = frozenset({"complete", "drained"})

_LONGEST_PATH = 200  # characters of a path in the log


def ending_of(
    body: CooperativeInput, storage_error: StorageError | None, answer: RequestError | None
) -> tuple[str, str]:
    """How a body ended that nobody reads any more, by the names of board.ENDINGS, and why.

    storage_error: what a temporary file met, whether or not the application let it through.
    answer: what was answered in the application's place.
    """
    error = storage_error or body.error or body.rejected_for or answer
    if error is not None:
        in_full = isinstance(error, StorageError)  # with what the client is not told
        return error.ending, str(error) if in_full else error.description or ""
    if body.to_come == 0:
        return "complete", ""
    return "unread", "The application answered without reading the rest."


def report(
    upload: Upload, body: CooperativeInput, ending: str, why: str, status: int, log: Any
) -> None:
    """Count it, tell statsd, and write a line to the log unless it ended well.

    status: of the response; 0 if there was none.
    log: a logger, of gunicorn's or of the standard library.
    """
    upload.ended(ending, status)
    body.tell(upload.record)
    send_ended(log, upload)
    if ending in _ENDED_WELL:
        return
    record = upload.record
    write = log.error if ending == StorageError.ending else log.info
    write(
        "Upload %s: %s %s from %s, %s in %.3f s. %s",
        ending.replace("_", " "),
        upload.method,
        ascii(upload.path)[1:-1][:_LONGEST_PATH],
        upload.client,
        progress(body.received, body.content_length),
        record.ended - record.began,
        why,
    )


def let_go(*errors: BaseException | None) -> None:
    """Free the frames through which errors went that are kept for longer than they are needed.

    They hold what the application had open, as the temporary file of a framework that knows
    nothing of this package, until the garbage collector finds them.
    """
    waiting = list(errors)
    seen: set[int] = set()  # an application may chain errors in a circle
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        error.__traceback__ = None
        waiting += [error.__cause__, error.__context__]
