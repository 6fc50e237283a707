"""How clients speak of uploads: tus and the IETF's resumable uploads, over one set of verbs.

A module of a protocol knows its wire format and nothing else. Applications import from here.
"""

from .cors import Cors

__all__ = ["Cors"]
