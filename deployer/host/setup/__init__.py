"""``fab setup``: prepare a host for an app; and checks of what it prepared, for ``fab doctor``."""
