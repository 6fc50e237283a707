"""The requests with which gunicorn tests its own parser, as its source distribution has them.

They are those of the very version that is tested (see source_distributions.py).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from checkout import SUPPORT
from live_server import Gunicorn, environment_with
from source_distributions import archive_of, unpack_tests


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
    """All files of both corpora; raises Unavailable.

    cache: a directory in which the source distribution is, or will be from now on.
    """
    archive = archive_of("gunicorn", version_of(gunicorn), cache)
    with tempfile.TemporaryDirectory() as directory:
        unpack_tests(archive, Path(directory), lambda path: path[0] in ("treq.py", "requests"))
        # What is in the files is UTF-8, which some versions of treq leave to the locale.
        script = str(SUPPORT / "corpus_as_json.py")
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
