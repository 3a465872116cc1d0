"""The commands that root runs on a host: setup, destroy."""
