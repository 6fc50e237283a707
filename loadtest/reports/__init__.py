"""What is reported: findings as text, JSON, a page and pictures, and the run's progress.

The scenarios and the command line may import its modules, by their full names; this folder imports
from what was measured and from below that.
"""
