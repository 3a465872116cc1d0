"""The users of an app on a host: their accounts, and whether they can log in."""
