"""The job of examples/demo.py on aiohttp: python aiohttp_app.py HOST PORT.

aiohttp leaves it to the handler where a part's bytes go; this one writes them to a temporary file,
as its documentation shows.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from aiohttp import BodyPartReader, web

BLOCK = 64 * 1024  # bytes
ROOT = Path(os.environ.get("UPLOAD_ROOT", "uploads"))


async def ping(request: web.Request) -> web.Response:
    return web.Response(text="pong")


async def upload(request: web.Request) -> web.Response:
    size, digest = 0, hashlib.sha256()
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        with tempfile.TemporaryFile() as spool:
            while block := await part.read_chunk(BLOCK):
                spool.write(block)
                size += len(block)
                if "sha256" in request.query:
                    digest.update(block)
    return answer(request, size, digest.hexdigest())


async def raw(request: web.Request) -> web.Response:
    size, digest = 0, hashlib.sha256()
    async for block in request.content.iter_chunked(BLOCK):
        size += len(block)
        if "sha256" in request.query:
            digest.update(block)
    return answer(request, size, digest.hexdigest())


async def store(request: web.Request) -> web.Response:
    """As the documentation of aiohttp writes a large upload to a file."""
    ROOT.mkdir(parents=True, exist_ok=True)
    size, digest = 0, hashlib.sha256()
    with (ROOT / request.match_info["name"]).open("wb") as file:
        async for block in request.content.iter_chunked(BLOCK):
            file.write(block)
            size += len(block)
            if "sha256" in request.query:
                digest.update(block)
    return answer(request, size, digest.hexdigest())


async def refuse(request: web.Request) -> web.Response:
    return web.Response(text="log in first", status=401)


def answer(request: web.Request, size: int, digest: str) -> web.Response:
    facts: dict[str, object] = {"size": size}
    if "sha256" in request.query:
        facts["sha256"] = digest
    return web.json_response(facts)


def main(host: str, port: str) -> None:
    app = web.Application(client_max_size=0)
    app.add_routes([web.get("/ping", ping), web.post("/upload", upload), web.put("/raw", raw)])
    app.add_routes([web.post("/refuse", refuse), web.put("/stored/{name}", store)])
    web.run_app(app, host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
