"""The files that the sandbox puts into images and hosts."""
