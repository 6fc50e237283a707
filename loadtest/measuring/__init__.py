"""What is measured: a run and its measurements, what the servers use, and the figures of it all.

The reports and scenarios may import its modules, by their full names; this folder imports from
what sends and what is started.
"""
