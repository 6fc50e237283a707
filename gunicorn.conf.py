"""A working configuration: `gunicorn` in this folder serves the demo on port 8000.

Copy it, and put your own application into wsgi_app.
"""

bind = "127.0.0.1:8000"
wsgi_app = "examples.demo:app"

worker_class = "cooperative_upload.Worker"
workers = 1  # one for each core is usual; each has its own loop and its own turns
worker_connections = 1000  # clients at once in each worker: uploads and small requests together

# The heartbeat runs beside uploads, so that the usual 30 s are enough however long they take.
timeout = 30
# An upload in progress may finish before a worker that was told to stop does.
graceful_timeout = 30
keepalive = 5  # seconds

accesslog = "-"
