"""One attempt at a release: its phases, the handover of traffic, the rollback when it fails, and its outcome."""
