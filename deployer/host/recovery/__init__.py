"""Recovery after an interrupted job: finding what is unfinished, planning the steps, carrying them out."""
