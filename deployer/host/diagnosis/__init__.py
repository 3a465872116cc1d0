"""Why an app's process, command or health check failed: the causes that are recognized, and what to do about each."""
