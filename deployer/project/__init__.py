"""The code on this machine: which files ship, what pins its dependencies, what it says about itself."""
