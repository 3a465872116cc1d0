"""The commands that tell how an app is on its hosts: status, releases, logs, doctor."""
