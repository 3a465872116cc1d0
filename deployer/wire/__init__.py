"""The contract between the laptop and the program on the host: what both import, and ships with it."""
