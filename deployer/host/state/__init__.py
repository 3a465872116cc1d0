"""What is on the disk of an app: paths, releases, stores, seals, the history, jobs and leases."""
