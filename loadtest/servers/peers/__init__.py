"""Applications for servers that are not WSGI, doing the same job as examples/demo.py.

GET /ping, POST /upload (a form with files in `file`, spooled to disk by the framework's usual
means), PUT /raw (the body, counted), POST /refuse (401, the body unread). They are run by their
servers, never imported by the load test.
"""
