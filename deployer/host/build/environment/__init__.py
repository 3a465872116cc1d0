"""The virtual environment of a release."""
