"""What pins an app's dependencies: the lock files that installers read, and what else they read with them."""
