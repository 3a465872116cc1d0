"""The half that runs on the host: standard library only, Python 3.9 or newer, imports nothing outside itself."""
