"""Uploads that outlive their requests: the record of each, where it is kept, and what is done.

verbs is what a protocol calls. It needs SQLAlchemy (the extra `uploads`), and a storage.
"""

from .record import Answer, State, Upload
from .verbs import Creation, Limits, Page, UploadService

__all__ = ["Answer", "Creation", "Limits", "Page", "State", "Upload", "UploadService"]
