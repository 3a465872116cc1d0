"""The program on the host: the standard library alone, Python 3.9 or newer. It imports itself and ``deployer.wire``."""
