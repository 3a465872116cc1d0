"""What a release is asked for: the source, the lock, the processes; read again by the host, strictly."""
