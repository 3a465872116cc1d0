"""Reports about a host: ``fab status``, ``fab releases``, ``fab logs`` and ``fab doctor``. Changes nothing."""
