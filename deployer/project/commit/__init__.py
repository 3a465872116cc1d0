"""What a commit has: listed and read from git's own objects, with what was read before remembered; or archived."""
