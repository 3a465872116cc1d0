"""The job of an app, one at a time: starting, queueing for, following and running it."""
