"""The version of this code, read from VERSION.txt at import: what a process runs, whatever the disk says."""

from pathlib import Path

VERSION = (Path(__file__).resolve().parent.parent / "VERSION.txt").read_text().strip()
