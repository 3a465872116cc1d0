"""``fab env``, ``env.set``, ``env.unset``, ``env.get``, ``env.pull``, ``env.push``, ``env.diff``, ``env.edit``."""
