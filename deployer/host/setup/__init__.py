"""``fab setup``: a host made ready for an app, and what of that can be looked at again later."""
