"""Hashed assets of the releases that are kept: which there are, and where the proxy finds them."""
