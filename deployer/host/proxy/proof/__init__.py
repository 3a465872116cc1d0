"""Whether a visitor sees this app: asked by name, through the proxy, over TLS, and compared with the app itself."""
