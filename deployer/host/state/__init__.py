"""The state of an app on the disk: paths, releases, content stores, seals, history, jobs and leases."""
