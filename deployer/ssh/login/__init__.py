"""Logging in to a host: its key, the person's keys and answers, and why it failed."""
