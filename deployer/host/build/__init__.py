"""Makes a release's parts: receives the upload, unpacks it, builds the tree of code and the virtual environment."""
