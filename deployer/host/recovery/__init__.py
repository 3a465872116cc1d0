"""After an accident: what is found unfinished, planned, and put right."""
