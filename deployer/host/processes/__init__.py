"""What runs of a release: its web process, workers, timers, and one-off commands."""
