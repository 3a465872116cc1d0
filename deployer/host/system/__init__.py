"""The operating system below: systemd, journald, /proc, files that survive a power cut, signals."""
