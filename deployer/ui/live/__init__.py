"""What a terminal shows while a command runs, drawn in place: the reporter, the view, and who is still awaited."""
