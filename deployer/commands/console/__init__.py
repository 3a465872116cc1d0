"""``fab run``, ``fab shell``, ``fab manage``: a command in a release, a file of its name for each.

``session`` runs one on all hosts, ``standardinput`` hands it what is piped in, ``terminal`` what is typed.
"""
