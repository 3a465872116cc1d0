"""The keys of ``deploy.toml``: one declaration that validates, and that the reference page is made from.

Each key has a description for the reference and says what it expects, in the words of an error message.
Values are normalised before they get here (see ``load.normalise``): where a string or a list may be written,
these structs hold a tuple.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from deployer.config import check
from deployer.config.check import Invalid
from deployer.config.declare import key, seconds, text, whole
from deployer.config.hosts import hosts
from deployer.config.hosts.hosts import HOST, HOST_LENGTH, HostSettings, Inventory
from deployer.config.hosts.roles import Roles
from deployer.config.tables import background
from deployer.config.tables.background import ProcessConfig, TimerConfig
from deployer.config.tables.dependencies import DependenciesConfig
from deployer.config.tables.fleet import FleetSettings, Hooks
from deployer.config.tables.proxy import ProxyConfig
from deployer.config.tables.software import HostConfig
from deployer.config.tables.web import WebConfig
from deployer.ssh.target import Target
from deployer.wire.protocol import APP, APP_LENGTH, ENV_NAME, USER
from deployer.wire.reader import MOST_ITEMS
from deployer.wire.release.shared import Shared, shared_of
from deployer.wire.release.source import DIRECTORY, DIRECTORY_LENGTH
from deployer.wire.release.spec import COMMAND_TIMEOUT, DRAIN, KEEP, WATCH
from deployer.wire.release.versions import PYTHON
from deployer.wire.setup.request import app_problem, user_problem


# fmt: off
class ReleaseConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a release is made, kept and watched."""

    build: Annotated[tuple[str, ...], key(
        "Commands run on each host, as the deploy user, in the new code tree with its virtual environment, "
        "before it is sealed.",
        'a list of commands such as ["python manage.py collectstatic --noinput"]', max_length=MOST_ITEMS)] = ()
    migrate: Annotated[str | None, key(
        "A command run once per fleet, before any candidate gets traffic. The old release still serves: keep "
        "migrations compatible with its code.",
        'a command such as "python manage.py migrate --noinput"')] = None
    build_timeout: Annotated[float, seconds(
        "How many seconds each command that builds may take: installing the dependencies, and each one of `build`. "
        "One that takes longer is ended, and the release refused.",
        COMMAND_TIMEOUT)] = 3600.0
    migrate_timeout: Annotated[float, seconds(
        "How many seconds the migration may take, and the `check` of a process. One that takes longer is ended, and "
        "the release refused; what a migration has committed by then stays.",
        COMMAND_TIMEOUT)] = 3600.0
    locked: Annotated[bool, key(
        "Refuse to deploy as long as a requirement is not pinned to a version, a commit or a hash, as `--strict` does.",
        "true or false")] = False
    submodules: Annotated[bool, key(
        "Whether the files of git submodules ship, as the commit that is deployed has them.",
        "true or false")] = True
    shared: Annotated[dict[str, str], key(
        "Paths of the code that the app writes, and that outlive releases: each is a link to a place below "
        "`/var/lib/APP`, such as `\"media/\" = \"media\"` or `\"db.sqlite3\" = \"db.sqlite3\"`. A directory's ends "
        "with a slash; what is committed in it is what it begins with on a new host: later commits do not change it. "
        "A file begins without content, whatever is committed there. Each host has its own.",
        'a table of paths of the project and places below /var/lib/APP, such as {"media/" = "media"}')] = {}
    keep: Annotated[int, whole(
        "How many good releases a host keeps. The current one and the standby are always kept.", KEEP)] = 5
    watch: Annotated[float, seconds(
        "For how many seconds after the switch the new release is watched; it is rolled back when it fails.",
        WATCH)] = 10.0
    drain: Annotated[float, seconds(
        "How many seconds the old release's requests in flight get to finish. Its processes and the runs of its timers "
        "are waited for as long; what is not through by then goes on by itself.",
        DRAIN, above=True)] = 30.0

    def __post_init__(self) -> None:
        for index, command in enumerate(self.build):
            check.command("build", command, f"[{index}]")
        if self.migrate is not None:
            check.command("migrate", self.migrate)
        check.shared("shared", self.shared)

    @property
    def outside(self) -> tuple[Shared, ...]:
        """What ``shared`` says, as the host is told it."""
        return shared_of(self.shared)


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of ``deploy.toml`` for one environment."""

    app: Annotated[str, key(
        "The app's name. It names the directories, the Unix user and the units on the hosts.",
        f"a name of at most {APP_LENGTH} lower-case letters, digits and single dashes, a letter first",
        pattern=f"^{APP.pattern}", max_length=APP_LENGTH)]
    hosts_written: Annotated[tuple[Annotated[str, text(HOST, HOST_LENGTH)], ...] | dict[str, HostSettings | str], key(
        "The hosts, used when -H is not given: a list of `[user@]host[:port]`; or a table for each of them, with what "
        "is different there; or an inventory that knows them.",
        'a list of hosts such as ["deploy@web1.example.com"], or tables such as [hosts."web1.example.com"]',
        beside=Inventory)] = field(default=(), name="hosts")
    deploy_user: Annotated[str, key(
        "The Unix user that `fab setup` makes for deploying.",
        "the name of a Unix user", pattern=f"^{USER.pattern}")] = "deploy"
    python: Annotated[Annotated[str, Meta(pattern=f"^{PYTHON.pattern}")] | None, key(
        "The Python version of the virtual environments: the host's own, or one that `fab setup` installs there. Left "
        "out: the one in `.python-version`, where neither the lock nor `requires-python` says which Python it is for; "
        "else the host's own python3, where they accept it; else the nearest to it that they accept.",
        'a version such as "3.12", in quotes')] = None
    directory: Annotated[Annotated[str, text(DIRECTORY.pattern, DIRECTORY_LENGTH)] | None, key(
        "The directory of the project that the app runs in: where manage.py is, or what its modules are imported from. "
        "Build commands, the migration, all processes and `fab run` start there; everything ships all the same. Left "
        "out: the project's own, where deploy.toml is.",
        'a directory relative to the project, such as "backend"')] = None
    dependencies: Annotated[DependenciesConfig, key(
        DependenciesConfig.__doc__ or "", "a table, or the path of the file")] = field(
        default_factory=DependenciesConfig)
    include: Annotated[tuple[str, ...], key(
        "Files that ship although git does not track them, such as a built front-end: patterns relative to "
        "the project, where `**` stands for any directories. A directory stands for all that is in it.",
        'a list of patterns such as ["frontend/dist/**"]')] = ()
    env_file: Annotated[Annotated[str, Meta(min_length=1)] | None, key(
        "A dotenv file on this machine, whose variables are added to `[env]` (and win over it). Its values "
        "are kept out of all output; the file itself never ships.",
        'the path of a file such as ".env.production"')] = None
    env_command: Annotated[str | None, key(
        "A command on this machine that prints variables, as dotenv lines or as one JSON object: the client of a "
        "vault. It is run at each deploy and reload, without a shell and without input, beside deploy.toml. Its "
        "variables win over those of `[env]` and `env_file`, and are kept out of all output.",
        'a command such as "op inject -i .env.tpl"')] = None
    env_required: Annotated[tuple[Annotated[str, text(ENV_NAME.pattern)], ...], key(
        "Variables that a release must have, wherever they come from; an empty one counts as missing. What is missing "
        "is told before anything is uploaded. May be written as `required` in `[env]`.",
        'a list of names such as ["SECRET_KEY", "DATABASE_URL"]', max_length=MOST_ITEMS)] = ()
    env: Annotated[dict[str, str], key(
        "Environment variables of the app that are not secret.",
        'a table of strings, such as DJANGO_SETTINGS_MODULE = "shop.settings"')] = {}
    web: Annotated[WebConfig, key(WebConfig.__doc__ or "", "a table")] = field(default_factory=WebConfig)
    processes: Annotated[dict[str, ProcessConfig], key(
        "What runs beside the web process, all the time.", "tables such as [processes.worker]")] = {}
    timers: Annotated[dict[str, TimerConfig], key(
        "What runs at certain times.", "tables such as [timers.clearsessions]")] = {}
    release: Annotated[ReleaseConfig, key(ReleaseConfig.__doc__ or "", "a table")] = field(
        default_factory=ReleaseConfig)
    fleet: Annotated[FleetSettings, key(FleetSettings.__doc__ or "", "a table")] = field(default_factory=FleetSettings)
    hooks: Annotated[Hooks, key(Hooks.__doc__ or "", "a table")] = field(default_factory=Hooks)
    host: Annotated[HostConfig, key(HostConfig.__doc__ or "", "a table")] = field(default_factory=HostConfig)
    proxy: Annotated[ProxyConfig, key(
        ProxyConfig.__doc__ or "", 'a table, or "auto", "caddy", "nginx" or "none"')] = field(
        default_factory=ProxyConfig)

    def __post_init__(self) -> None:
        for name, problem in (
            ("app", app_problem(self.app)),
            ("deploy_user", user_problem(self.deploy_user, self.app)),
        ):
            if problem:
                raise Invalid(name, problem)
        for index, pattern in enumerate(self.include):
            check.relative("include", pattern, f"[{index}]")
        if self.env_file is not None and check.control(self.env_file):
            raise Invalid("env_file", "must not hold control characters")
        if self.env_command is not None:
            check.command("env_command", self.env_command)
        check.env_names("env_required", self.env_required)
        check.env_table("env", self.env)
        background.check_names(self.processes, self.timers)
        hosts.check_written(self.hosts_written)
        self._check_shared()
        if (several := len(self.host_settings)) > 1 and self.host.services:
            wrong = f"is for a single host, and there are {several}: each would have data of its own"
            raise Invalid("host", wrong, self.host.services[0])

    def _check_shared(self) -> None:
        """What the proxy serves from the code, and where the app runs, is not what the app writes."""
        for one in self.release.outside:
            for prefix, directory in self.proxy.static.items():
                if one.holds(directory.rstrip("/")) or one.path.startswith(f"{directory.rstrip('/')}/"):
                    wrong = f"has {one.key}, and [release] shared has the app write that: no proxy serves links"
                    raise Invalid("proxy", wrong, "static", prefix)
            if self.directory and one.holds(self.directory):
                wrong = f"is where the app runs: directory = {self.directory!r}"
                raise Invalid("release", wrong, "shared", one.key)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of all hosts, in their order; none as long as an inventory was not asked for them."""
        return () if self.inventory else tuple(self.host_settings)

    @property
    def host_settings(self) -> dict[str, HostSettings]:
        """What is different on which host, by its name; hosts without settings of their own are in it, too."""
        return hosts.settings_of(self.hosts_written)

    @property
    def inventory(self) -> Inventory | None:
        """The inventory to ask for the hosts (``inventory.py``); None when it was asked, or there is none."""
        return hosts.inventory_of(self.hosts_written)

    def target(self, name: str) -> Target:
        """Where to log in for a host named here or by -H. Raises ConfigError for one that fits several."""
        return hosts.target_of(self.host_settings, name)

    @property
    def roles(self) -> Roles:
        """What runs on which host."""
        once = [name for name, process in self.processes.items() if process.once]
        once += [name for name, timer in self.timers.items() if timer.once]
        return Roles(
            processes=tuple(self.processes),
            timers=tuple(self.timers),
            once=tuple(once),
            table=self.host_settings,
            open=self.inventory is not None,
        )

    @property
    def runs_web(self) -> bool:
        """Whether a host answers requests: this one, for one host's configuration, else any of them."""
        return self.roles.run_web

    def of_host(self, name: str) -> Config:
        """The configuration of one host, named here or by -H: its own settings are merged in, other hosts are left out,
        and so are the processes and timers that do not run there.

        A host that has none here has what all have. Raises ConfigError for a name that fits several.
        """
        roles = self.roles
        table = hosts.only(self.host_settings, name, roles.on)
        here = roles.on(next(iter(table), None))
        settings = next(iter(table.values()), HostSettings())
        own = {key: getattr(settings, key) for key in ("workers", "memory") if getattr(settings, key) is not None}
        return replace(
            self,
            hosts_written={host: replace(settings, processes=here) for host in table},
            env={**self.env, **settings.env},
            web=replace(self.web, **own),
            processes={name: one for name, one in self.processes.items() if name in here},
            timers={name: one for name, one in self.timers.items() if name in here},
        )

    def migrates(self, name: str) -> bool:
        """Whether the file says that the fleet's migration runs on this host. Raises ConfigError as ``of_host``."""
        return any(settings.migrate for settings in hosts.only(self.host_settings, name).values())

    @property
    def health_host(self) -> str:
        """The Host header of the health check."""
        names = (name for name in self.proxy.domains if "*" not in name)
        return self.web.health.host or next(names, "localhost")
