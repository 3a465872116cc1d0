"""The proxy in front of an app: its site as a model and as text for nginx and Caddy, and its certificates."""
