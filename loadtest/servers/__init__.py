"""What is started: the servers that are measured, with their certificates and nginx in front.

`peers/` holds the applications of servers that are not gunicorn's; they run as programs of their
own and are imported by nobody. The folders that measure and report may import the modules here, by
their full names; this one imports from the settings, the clients and the ground.
"""
