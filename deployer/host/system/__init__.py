"""The operating system: systemd, journald, /proc, signals, commands, and files that survive a power cut."""
