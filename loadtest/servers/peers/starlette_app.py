"""The job of examples/demo.py on Starlette."""

from __future__ import annotations

import hashlib
import os

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

BLOCK = 64 * 1024  # bytes


async def ping(request: Request) -> Response:
    return PlainTextResponse("pong")


async def upload(request: Request) -> Response:
    size, digest = 0, hashlib.sha256()
    async with request.form() as form:
        for file in form.getlist("file"):
            assert isinstance(file, UploadFile)
            size += file.file.seek(0, os.SEEK_END)
            if "sha256" in request.query_params:
                await file.seek(0)
                while block := await file.read(BLOCK):
                    digest.update(block)
    return answer(request, size, digest.hexdigest())


async def raw(request: Request) -> Response:
    size, digest = 0, hashlib.sha256()
    async for block in request.stream():
        size += len(block)
        if "sha256" in request.query_params:
            digest.update(block)
    return answer(request, size, digest.hexdigest())


async def refuse(request: Request) -> Response:
    return PlainTextResponse("log in first", 401)


def answer(request: Request, size: int, digest: str) -> Response:
    facts: dict[str, object] = {"size": size}
    if "sha256" in request.query_params:
        facts["sha256"] = digest
    return JSONResponse(facts)


app = Starlette(
    routes=[
        Route("/ping", ping),
        Route("/upload", upload, methods=["POST"]),
        Route("/raw", raw, methods=["PUT"]),
        Route("/refuse", refuse, methods=["POST"]),
    ]
)
