"""How far a command is, built up from its events, and how it ended. Nothing is drawn or printed here."""
