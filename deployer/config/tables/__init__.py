"""The tables of ``deploy.toml``, a module each."""
