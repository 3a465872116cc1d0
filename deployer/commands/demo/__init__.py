"""``deployer demo``: the product on a throwaway host under load. ``app`` holds the Django app that it deploys."""

from deployer.commands.demo.demo import main

__all__ = ["main"]
