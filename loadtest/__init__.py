"""The load test: small requests measured beside large uploads, on any HTTP server.

It starts servers as separate programs, or is pointed at one by its URL, and speaks HTTP to
them. It imports nothing of what it measures. `python -m loadtest --help` lists the options;
README.md beside this file says how it measures.
"""
