"""Storage: where objects are kept, on a disk or in a store; one contract for all.

contract says what every storage does. Applications import from here, and nothing does up to the
entrances: who stores files on a disk by receive() and save() needs none of it.
"""

from .contract import Content, Deposit, Description, RangeWriter, Storage, Stored, Token
from .ranges import Ranges

__all__ = [
    "Content",
    "Deposit",
    "Description",
    "RangeWriter",
    "Ranges",
    "Storage",
    "Stored",
    "Token",
]
