"""What each command does, a file for each: ``fab status`` is in ``status.py``."""
