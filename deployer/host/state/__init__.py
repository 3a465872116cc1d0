"""The state of an app on the disk: paths, releases, stored content, seals, history, jobs and leases."""
