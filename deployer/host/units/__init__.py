"""systemd units: their text, their confinement, their files on the disk, and transient ones."""
