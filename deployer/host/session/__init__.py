"""A laptop's session with one app, over one SSH channel."""
