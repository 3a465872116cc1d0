"""What a laptop asks in its session, answered: one SSH channel, one app."""
