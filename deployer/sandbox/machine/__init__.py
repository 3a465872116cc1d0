"""This machine, on which the hosts run: its commands, processes, locks and disk space."""
