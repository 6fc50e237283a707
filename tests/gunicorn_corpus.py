"""The requests with which gunicorn tests its own parser, as its source distribution has them.

They are not copied into this repository: they are those of the very version that is tested,
downloaded once by pip, with the configuration of whoever runs the tests, and kept in pytest's
cache.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from live_server import TESTS, Gunicorn, environment_with

DOWNLOAD_SECONDS = 90  # below the time-out of a test


class CorpusUnavailable(Exception):
    """The source distribution can't be downloaded; the message has pip's own words."""


@dataclass(frozen=True)
class CorpusFile:
    """One file of a corpus: the bytes of a connection, and what gunicorn's tests say of them.

    name: with its corpus, as in "valid/001".
    options: gunicorn's, for the settings that the file is meant for.
    accepted: method, uri and body of each request in it, or nothing where it is invalid.
    """

    name: str
    data: bytes
    options: tuple[str, ...]
    accepted: tuple[dict[str, str], ...]

    @property
    def is_valid(self) -> bool:
        return self.name.startswith("valid/")


def corpus_of(gunicorn: Gunicorn, cache: Path) -> list[CorpusFile]:
    """All files of both corpora; raises CorpusUnavailable.

    cache: a directory in which the source distribution is, or will be from now on.
    """
    archive = cache / f"gunicorn-{version_of(gunicorn)}.tar.gz"
    if not archive.exists():
        download(version_of(gunicorn), archive)
    with tempfile.TemporaryDirectory() as directory:
        unpack_tests(archive, Path(directory))
        # What is in the files is UTF-8, which some versions of treq leave to the locale.
        script = str(TESTS / "corpus_as_json.py")
        command = [str(gunicorn.python), "-X", "utf8", script, directory]
        printed = subprocess.run(
            command, env=environment_with({}), capture_output=True, text=True, check=True
        ).stdout
    return [
        CorpusFile(
            name=entry["name"],
            data=entry["data"].encode("latin-1"),
            options=tuple(entry["options"]),
            accepted=tuple(entry["accepted"]),
        )
        for entry in json.loads(printed)
    ]


def version_of(gunicorn: Gunicorn) -> str:
    return ".".join(str(number) for number in gunicorn.version)


def download(version: str, archive: Path) -> None:
    """Put gunicorn's source distribution of that version at a path, whole or not at all.

    pip knows the package index, its mirror and what it takes to reach them. That it also asks
    the distribution for its metadata takes a few seconds.
    """
    with tempfile.TemporaryDirectory(dir=archive.parent) as directory:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--retries", "2", "--dest", directory]
        command += ["--no-deps", "--no-binary", "gunicorn", f"gunicorn=={version}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise CorpusUnavailable(f"pip took more than {DOWNLOAD_SECONDS} seconds") from error
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:]
            raise CorpusUnavailable(f"pip can't download gunicorn {version}: {''.join(last)}")
        (downloaded,) = Path(directory).glob("*.tar.gz")
        downloaded.replace(archive)


def unpack_tests(archive: Path, directory: Path) -> None:
    """Write treq.py and the directory `requests` of an archive into a directory."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _, *parts = Path(member.name).parts
            wanted = parts[:1] == ["tests"] and parts[1:2] in (["treq.py"], ["requests"])
            if wanted and ".." not in parts and (file := tar.extractfile(member)):
                path = directory.joinpath(*parts[1:])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read())
