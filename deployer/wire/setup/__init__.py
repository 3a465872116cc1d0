"""What ``fab setup`` asks a host for."""
