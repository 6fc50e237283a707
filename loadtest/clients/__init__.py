"""What sends: bodies, their pace, HTTP in both versions, and the processes that speak it.

Every folder above may import its modules, by their full names: each is needed by a few alone. This
one imports from the ground only, and knows of no server how it was started.
"""
