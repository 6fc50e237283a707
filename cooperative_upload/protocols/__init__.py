"""How clients speak of uploads: tus and the IETF's resumable uploads, over one set of verbs.

A module of a protocol knows its wire format and nothing else. Applications import from here.
"""

from .application import Uploads
from .cors import Cors
from .handling import Request

__all__ = ["Cors", "Request", "Uploads"]
