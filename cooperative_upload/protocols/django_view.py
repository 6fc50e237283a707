"""Resumable uploads as a Django view, for applications that are served by WSGI.

    view = uploads_view(uploads)
    urlpatterns = [path("files/", view), path("files/<str:id>", view)]

authorize() is given a request of werkzeug's; Django's own, with its `user`, is
`request.environ["cooperative_upload.django_request"]`.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from .application import Uploads

DJANGO_REQUEST = "cooperative_upload.django_request"


def uploads_view(uploads: Uploads) -> Callable[..., HttpResponse]:
    """A view with the addresses of these uploads; its argument `id` names one.

    It is exempt from Django's CSRF check, whose middleware would read forms: each request of the
    protocols has a header that a page of another origin can send only where CORS lets it.
    """

    def view(request: HttpRequest, id: str | None = None) -> HttpResponse:
        environ = {**request.environ, DJANGO_REQUEST: request}
        response = uploads.respond(environ, id)
        answer = HttpResponse(response.get_data(), status=response.status_code)
        del answer["Content-Type"]
        for name, value in response.headers:
            answer[name] = value
        return answer

    exempt: Callable[..., HttpResponse] = csrf_exempt(view)
    return exempt
