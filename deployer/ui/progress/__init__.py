"""What a command has come to, built up from its events, and how it ended. Nothing is drawn or printed here."""
