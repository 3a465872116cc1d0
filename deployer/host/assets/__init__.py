"""What the proxy serves from the disk: the hashed assets of the releases that are kept, and the media of the app."""
