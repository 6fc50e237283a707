"""One application for each framework of docs/frameworks.md, which all answer the same.

What they answer to /form and /data is described in http_client.py; /receive stores the body by
receive(), /read-first as well after it has read it, /refuse reads nothing of it. Without
`answers_errors` they are without the line that docs/frameworks.md asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from applications import digest_of

from cooperative_upload import CooperativeUploadMiddleware, receive
from cooperative_upload.errors import RequestError

Application = Callable[..., Any]

REFUSED = "Not here."


def file_description(name: str, filename: str, read: Callable[[int], bytes]) -> list[Any]:
    found = digest_of(read)
    return [name, filename, found["size"], found["sha256"]]


def received(environ: dict[str, Any], target: str) -> dict[str, Any]:
    stored = receive(environ, target, digests=["sha-256"], fsync=False)
    return {"size": stored.size, "sha256": stored.digests["sha-256"].hex()}


def django_application(answers_errors: bool = True) -> Application:
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import FileResponse, HttpResponse, JsonResponse
    from django.urls import path

    def ping(request: Any) -> Any:
        return HttpResponse("pong")

    def form(request: Any) -> Any:
        fields = [[name, value] for name in request.POST for value in request.POST.getlist(name)]
        files = [
            file_description(name, file.name, file.read)
            for name in request.FILES
            for file in request.FILES.getlist(name)
        ]
        return JsonResponse({"fields": fields, "files": files})

    def data(request: Any) -> Any:
        return JsonResponse(digest_of(request.read))

    def save(request: Any) -> Any:
        file = request.FILES["file"]
        file.save_to(request.GET["to"])
        return HttpResponse(type(file).__name__)

    def store(request: Any) -> Any:
        from django.core.files.storage import FileSystemStorage

        name = FileSystemStorage(request.GET["to"]).save("stored", request.FILES["file"])
        return HttpResponse(name)

    def send_back(request: Any) -> Any:
        return FileResponse(request.FILES["file"])

    def receive_body(request: Any) -> Any:
        return JsonResponse(received(request.environ, request.GET["to"]))

    def read_first(request: Any) -> Any:
        digest_of(request.read)
        return receive_body(request)

    def refuse(request: Any) -> Any:
        return HttpResponse(REFUSED, status=403)

    views = [ping, form, data, save, store, send_back, refuse]
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=(
            path("receive", receive_body),
            path("read-first", read_first),
            *(path(view.__name__, view) for view in views),
        ),
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
        FILE_UPLOAD_HANDLERS=["cooperative_upload.django_ext.SpoolUploadHandler"],
        MIDDLEWARE=["cooperative_upload.django_ext.AnswerUploadErrors"] if answers_errors else [],
    )
    django.setup()
    return get_wsgi_application()  # type: ignore[no-any-return]


def wrapped_django_application() -> Application:
    return CooperativeUploadMiddleware(django_application())


def bottle_application(answers_errors: bool = True) -> Application:
    import bottle

    app = bottle.Bottle()
    app.catchall = not answers_errors

    def ping() -> str:
        return "pong"

    def form() -> dict[str, Any]:
        request = bottle.request
        files = [
            file_description(name, file.raw_filename, file.file.read)
            for name, file in request.files.allitems()
        ]
        return {"fields": list(request.forms.allitems()), "files": files}

    def data() -> dict[str, Any]:
        return digest_of(bottle.request.body.read)

    def receive_body() -> dict[str, Any]:
        return received(bottle.request.environ, bottle.request.query.to)

    def read_first() -> dict[str, Any]:
        data()
        return receive_body()

    def refuse() -> None:
        bottle.abort(403, REFUSED)

    app.get("/ping", callback=ping)
    app.post("/form", callback=form)
    app.post("/data", callback=data)
    app.put("/receive", callback=receive_body)
    app.put("/read-first", callback=read_first)
    app.post("/refuse", callback=refuse)
    return app  # type: ignore[no-any-return]


def webob_application() -> Application:
    import webob
    from webob.dec import wsgify
    from webob.exc import HTTPForbidden, HTTPNotFound

    def form(request: Any) -> dict[str, Any]:
        fields, files = [], []
        for name, value in request.POST.items():
            if hasattr(value, "filename"):
                files.append(file_description(name, value.filename, value.file.read))
            else:
                fields.append([name, value])
        return {"fields": fields, "files": files}

    @wsgify  # type: ignore[untyped-decorator]
    def application(request: Any) -> Any:
        if request.path == "/ping":
            return "pong"
        if request.path == "/form":
            return webob.Response(json_body=form(request))
        if request.path == "/data":
            return webob.Response(json_body=digest_of(request.body_file.read))
        if request.path == "/read-first":
            digest_of(request.body_file.read)
        if request.path in ("/receive", "/read-first"):
            return webob.Response(json_body=received(request.environ, request.GET["to"]))
        raise HTTPForbidden(REFUSED) if request.path == "/refuse" else HTTPNotFound()

    return application  # type: ignore[no-any-return]


def falcon_application(answers_errors: bool = True) -> Application:
    import falcon

    class Ping:
        def on_get(self, request: Any, response: Any) -> None:
            response.text = "pong"

    class Form:
        def on_post(self, request: Any, response: Any) -> None:
            fields, files = [], []
            for part in request.get_media():
                if part.filename is None:
                    fields.append([part.name, part.text])
                else:
                    files.append(file_description(part.name, part.filename, part.stream.read))
            response.media = {"fields": fields, "files": files}

    class Data:
        def on_post(self, request: Any, response: Any) -> None:
            response.media = digest_of(request.stream.read)

    class Receive:
        def on_put(self, request: Any, response: Any) -> None:
            response.media = received(request.env, request.get_param("to"))

    class ReadFirst(Receive):
        def on_put(self, request: Any, response: Any) -> None:
            digest_of(request.stream.read)
            super().on_put(request, response)

    class Refuse:
        def on_post(self, request: Any, response: Any) -> None:
            raise falcon.HTTPForbidden(description=REFUSED)

    def answer(request: Any, response: Any, error: RequestError, params: Any) -> None:
        response.status = error.code
        response.text = error.description

    app = falcon.App()
    if answers_errors:
        app.add_error_handler(RequestError, answer)
    for resource in (Ping, Form, Data, Receive, Refuse):
        app.add_route(f"/{resource.__name__.lower()}", resource())
    app.add_route("/read-first", ReadFirst())
    return app
