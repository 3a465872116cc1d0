"""What acts on a running app and makes no release of new code: locks, restarts, stops, timers, clearing up."""
