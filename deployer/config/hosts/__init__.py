"""The hosts that deploy.toml names: what is different on one, what runs on which, and who else names them."""
