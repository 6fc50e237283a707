"""The command `cooperative-upload`: what somebody does without an application.

command_line has its verbs and exit statuses. Nobody imports from here but the console script.
"""

from .entrance import main

__all__ = ["main"]
