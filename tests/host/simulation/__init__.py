"""A host in a directory: the real host program on a real file system, with a systemd and a clock that are not real.

``clock`` is time, ``programs`` runs the host program and lets it die at any change it makes to the host, ``systemd``
keeps what systemd keeps, ``web`` and ``background`` are the processes it runs and ``service`` says how they behave,
``host`` is a laptop's view of it all, and ``rules`` and ``generations`` hold what must be true of a host.
"""
