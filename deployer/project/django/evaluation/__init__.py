"""What the code of settings is worth on a host: modules, statements and expressions, followed without running them."""
