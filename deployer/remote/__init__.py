"""The laptop's end of a session with the program on one host: questions, answers, and a job followed to its end."""
