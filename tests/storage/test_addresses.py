"""storage_for(): URLs, and what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cooperative_upload.errors import SettingsError
from cooperative_upload.settings import UploadSettings
from cooperative_upload.storage import storage_for


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_folder(tmp_path: Path, host: str) -> None:
    """Also percent-encoded."""
    (tmp_path / "a b%ü").mkdir()
    url = f"file://{host}{tmp_path}/a%20b%25%C3%BC"
    with storage_for(url, settings=UploadSettings()).deposit("name") as deposit:
        deposit.commit()
    assert (tmp_path / "a b%ü" / "name").is_file()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("file:relative", "there are file:///path, s3://"),
        ("file://relative/path", "expected an absolute path, as in file:///srv/files"),
        ("file://", "expected an absolute path"),
        ("file:///a?b", "'\\?' and '#' in a path are %3F and %23"),
        ("file:///nowhere/at/all", "there is no directory '/nowhere/at/all'"),
        ("/srv/files", "there are file:///path, s3://bucket/prefix, swift://container/prefix"),
        ("ftp://host/path", "there are file:///path"),
        ("", "there are file:///path"),
    ],
)
def test_what_is_none(url: str, what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        storage_for(url)


@pytest.mark.parametrize("scheme", ["s3", "swift"])
def test_what_is_missing_is_said(scheme: str) -> None:
    """In a process without the libraries; a folder needs none."""
    program = f"""if True:
        import sys
        for name in ("boto3", "botocore", "swiftclient", "keystoneauth1"):
            sys.modules[name] = None
        from cooperative_upload.storage import storage_for
        storage_for("file:///tmp")
        try:
            storage_for("{scheme}://place/prefix")
        except ImportError as error:
            assert "pip install cooperative_upload[{scheme}]" in str(error), error
        else:
            raise SystemExit("a storage without its library")
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
