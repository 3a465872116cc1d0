"""Zero-downtime releases of Django (and any WSGI or ASGI Python) apps to plain Linux hosts, over SSH.

What a fabfile uses: ``from deployer.tasks import namespace``. What ``fabric.yaml`` names:
``deployer.executor.FleetExecutor``. All else is reached by the commands ``fab`` and ``deployer``.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
