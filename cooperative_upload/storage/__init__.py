"""Storage: where objects are kept, on a disk or in a store; one contract for all.

contract says what every storage does, storage_for() makes one by its URL. Applications import from
here, and nothing does up to the entrances: who stores files on a disk by receive() and save()
needs none of it.
"""

from .addresses import storage_for
from .contract import Content, Deposit, Description, RangeWriter, Storage, Stored, Token
from .form_files import FormFile, StorageObjects
from .local import LocalStorage
from .objects import ObjectAddress
from .ranges import Ranges

__all__ = [
    "Content",
    "Deposit",
    "Description",
    "FormFile",
    "LocalStorage",
    "ObjectAddress",
    "RangeWriter",
    "Ranges",
    "Storage",
    "StorageObjects",
    "Stored",
    "Token",
    "storage_for",
]
