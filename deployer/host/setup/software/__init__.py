"""What else an app needs on its host: a Python, packages, a database, a Redis; installed, and never changed again."""
