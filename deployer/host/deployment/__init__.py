"""The deployment of one release: its phases, the handover of traffic, the rollback when it fails, and its outcome."""
