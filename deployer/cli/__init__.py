"""How a task is declared and told: its options, ``--dry``, where its events go, and wrong command lines."""
