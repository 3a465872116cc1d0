"""What ``fab destroy`` removes beside files: accounts, and what an app has written."""
