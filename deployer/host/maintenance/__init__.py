"""Maintenance: a page in place of the app, whose processes may stop meanwhile."""
