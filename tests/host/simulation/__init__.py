"""A host in a directory: the real host program on a real file system, with a systemd and a clock that are not real.

``clock`` is time, ``programs`` runs the host program and lets it die at any change it makes to the host, ``systemd``
keeps what systemd keeps, ``service`` says how a release's process behaves, ``host`` is a laptop's view of it all, and
``rules`` holds what must be true of a host.
"""
