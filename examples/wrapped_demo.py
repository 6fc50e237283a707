"""The demo for servers that are not ours: the same application in the wrapper.

gunicorn -k gevent examples.wrapped_demo:app
"""

from __future__ import annotations

from cooperative_upload import CooperativeUploadMiddleware
from examples.demo import app

app.wsgi_app = CooperativeUploadMiddleware(app.wsgi_app)  # type: ignore[method-assign]
