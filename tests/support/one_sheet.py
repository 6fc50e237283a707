"""A configuration of gunicorn with room for the numbers of one worker alone."""

from cooperative_upload.monitoring import monitor

monitor._MORE_SHEETS = -1  # beside two for each worker
