"""Uploads that outlive their requests: the record of each, where it is kept, and what is done.

verbs is what protocols call, and applications beside them. It needs SQLAlchemy (the extra
`uploads`), and a storage.
"""

from .creating import Creation
from .hooks import Grant, Hooks
from .record import Answer, Limits, State, Upload
from .refusals import (
    ChecksumMismatch,
    InconsistentLength,
    LargerThanDeclared,
    Later,
    MetadataTooLarge,
    NoSuchUpload,
    NotAppendable,
    NotConcatenable,
    NotReadyYet,
    OutOfReach,
    QuotaExceeded,
    RefusedUpload,
    Superseded,
    TooManyGaps,
    TypeRefused,
    UnknownChecksum,
    UploadGone,
    UploadRefusal,
    UploadTooLarge,
    WrongOffset,
)
from .schema import metadata
from .verbs import Page, UploadService

__all__ = [
    "Answer",
    "ChecksumMismatch",
    "Creation",
    "Grant",
    "Hooks",
    "InconsistentLength",
    "LargerThanDeclared",
    "Later",
    "Limits",
    "MetadataTooLarge",
    "NoSuchUpload",
    "NotAppendable",
    "NotConcatenable",
    "NotReadyYet",
    "OutOfReach",
    "Page",
    "QuotaExceeded",
    "RefusedUpload",
    "State",
    "Superseded",
    "TooManyGaps",
    "TypeRefused",
    "UnknownChecksum",
    "Upload",
    "UploadGone",
    "UploadRefusal",
    "UploadService",
    "UploadTooLarge",
    "WrongOffset",
    "metadata",
]
