"""What is released: a commit, the code that serves, or an older release; and what of it goes to each host."""
