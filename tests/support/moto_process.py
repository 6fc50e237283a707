"""moto's server, with NoSuchUpload where moto 5.2 fails with a KeyError: a part, a completion."""

from __future__ import annotations

import sys
from typing import Any

from moto.s3.exceptions import NoSuchUpload
from moto.s3.models import FakeBucket
from moto.server import main


class Uploads(dict[str, Any]):
    """Those of a bucket."""

    def __missing__(self, upload_id: str) -> Any:
        raise NoSuchUpload(upload_id=upload_id)


_made = FakeBucket.__init__


def _make(bucket: Any, *args: Any, **more: Any) -> None:
    _made(bucket, *args, **more)
    bucket.multiparts = Uploads()


FakeBucket.__init__ = _make  # type: ignore[assignment, method-assign]

if __name__ == "__main__":
    main(sys.argv[1:])
