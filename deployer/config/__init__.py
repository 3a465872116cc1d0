"""``deploy.toml`` and the dotenv file: validated, frozen; refused with the line and the key that is wrong."""

from deployer.config.environment.dotenv import read_env_file
from deployer.config.environment.local import LocalEnvironment, read_local
from deployer.config.hosts.hosts import HostSettings, Inventory
from deployer.config.hosts.roles import Roles, refuse_twice
from deployer.config.load import load, refusal
from deployer.config.schema import Config, ReleaseConfig
from deployer.config.tables.background import ProcessConfig, TimerConfig
from deployer.config.tables.dependencies import DependenciesConfig
from deployer.config.tables.fleet import FleetSettings, Hooks
from deployer.config.tables.proxy import ProxyConfig
from deployer.config.tables.software import HostConfig
from deployer.config.tables.web import HealthConfig, WebConfig

__all__ = [
    "Config",
    "DependenciesConfig",
    "FleetSettings",
    "HealthConfig",
    "Hooks",
    "HostConfig",
    "HostSettings",
    "Inventory",
    "LocalEnvironment",
    "ProcessConfig",
    "ProxyConfig",
    "ReleaseConfig",
    "Roles",
    "TimerConfig",
    "WebConfig",
    "load",
    "read_env_file",
    "read_local",
    "refusal",
    "refuse_twice",
]
