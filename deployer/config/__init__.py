"""``deploy.toml`` and the dotenv file: validated, frozen; refused with the line and the key that is wrong."""

from deployer.config.background import Process, Timer
from deployer.config.env_file import read_env_file
from deployer.config.fleet import FleetSettings, Hooks
from deployer.config.hosts import HostSettings, Inventory
from deployer.config.load import load, refusal
from deployer.config.roles import Roles, refuse_twice
from deployer.config.schema import Config, Proxy, Release
from deployer.config.web import Health, Web

__all__ = [
    "Config",
    "FleetSettings",
    "Health",
    "Hooks",
    "HostSettings",
    "Inventory",
    "Process",
    "Proxy",
    "Release",
    "Roles",
    "Timer",
    "Web",
    "load",
    "read_env_file",
    "refusal",
    "refuse_twice",
]
