"""What runs of a release: its web process, workers and timers, and commands that run once."""
