"""The code of a release: from an upload to a sealed tree."""
