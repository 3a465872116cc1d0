"""One module a command, for what works on this machine alone: `deployer demo`, `deployer sandbox`."""
