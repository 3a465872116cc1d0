"""What operators have set on this host, for as long as they want it: the deploy lock, variables, maintenance."""
