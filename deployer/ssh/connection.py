"""A Fabric connection that is as strict as OpenSSH: what users' own tasks get from ``-H``."""

from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path
from typing import Any

from fabric.connection import Connection
from paramiko.client import SSHClient

from deployer.ssh.dial import Dialled, tunnel
from deployer.ssh.login.login import Login, login
from deployer.ssh.options import SshOptions
from deployer.ssh.settings import SshSettings, resolve, with_proxy_command
from deployer.ssh.target import Target


class StrictClient(SSHClient):  # type: ignore[misc]
    """A client whose transport is made elsewhere: Paramiko's own way to connect trusts any host."""

    def adopt(self, transport: Any) -> None:
        self._transport = transport

    def connect(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("use StrictConnection.open()")


class StrictConnection(Connection):  # type: ignore[misc]
    """``fabric.Connection`` with OpenSSH's settings, host key rules and errors that explain themselves.

    Where ssh_config says nothing, ``user``, ``port`` and ``gateway`` of Fabric's configuration count.
    ForwardAgent in ssh_config does not: forwarding is on only when ``forward_agent`` says so.
    """

    _login: Login | None = None
    gateway: Any

    def __init__(
        self,
        host: str,
        user: str | None = None,
        port: int | None = None,
        config: Any = None,
        gateway: Any = None,
        forward_agent: bool | None = None,
        connect_timeout: int | None = None,
        connect_kwargs: dict[str, Any] | None = None,
        inline_ssh_env: bool | None = None,
        options: SshOptions | None = None,
    ) -> None:
        super().__init__(
            host,
            user,
            port,
            config,
            gateway,
            bool(forward_agent),
            connect_timeout or 0,
            connect_kwargs,
            inline_ssh_env,
        )
        if forward_agent is None:
            self.forward_agent = bool(self.config.forward_agent)
        given = self.derive_shorthand(host)
        target = Target(host=given["host"], user=user or given["user"], port=port or given["port"], name=host)
        said = options or options_of(self.config)
        wanted = with_connect_kwargs(said, self.connect_kwargs, connect_timeout)
        self._set(_target=target, _options=wanted, _settings=self._resolve(target, wanted))
        self.host, self.user, self.port = self._settings.hostname, self._settings.user, self._settings.port
        self.client = StrictClient()

    def derive_shorthand(self, host_string: str) -> dict[str, Any]:
        """Strict: what can't be a host is refused."""
        target = Target.parse(host_string)
        return {"user": target.user, "host": target.host, "port": target.port}

    def get_gateway(self) -> Any:
        """Fabric's setting only: what ssh_config says is OpenSSH's to resolve."""
        return self.config.gateway

    def resolve_connect_kwargs(self, connect_kwargs: dict[str, Any] | None) -> dict[str, Any]:
        """A copy: Fabric's own leaks one host's keys into the next."""
        return {**self.config.connect_kwargs, **(connect_kwargs or {})}

    def open(self) -> None:
        """Connects and logs in unless that is done. Raises Unreachable or ConfigError."""
        if self.is_connected:
            return
        via = self._via_gateway if isinstance(self.gateway, Connection) else None
        self._login = login(self._target, self._options, settings=self._settings, via=via)
        self.transport = self._login.transport
        self.client.adopt(self.transport)

    def close(self) -> None:
        super().close()
        if self._login is not None:
            self._login.close()
            self._login = None

    def _resolve(self, target: Target, options: SshOptions) -> SshSettings:
        settings = resolve(target, options)
        if target.user is None and settings.user == getpass.getuser():
            settings = replace(settings, user=self.config.user)
        if target.port is None and settings.port == 22:
            settings = replace(settings, port=int(self.config.port))
        if isinstance(self.gateway, str):
            return with_proxy_command(settings, target, self.gateway)
        if self.gateway is not None:
            return replace(settings, proxy_jump=(), proxy_command=None)
        return settings

    def _via_gateway(self, settings: SshSettings) -> Dialled:
        """A gateway is as strict as what it carries, whatever made it."""
        if not isinstance(self.gateway, StrictConnection):
            plain = self.gateway
            self.gateway = StrictConnection(
                plain.original_host,
                plain.user,
                plain.port,
                plain.config,
                plain.gateway,
                options=self._options,
            )
        self.gateway.open()
        return tunnel(self.gateway, settings), ()


def options_of(config: Any) -> SshOptions:
    """What ``-S``, ``-i``, ``-t`` and ``--prompt-for-…`` (or a ``fabric.yaml``) said, as SshOptions."""
    file = config.get("ssh_config_path") or getattr(config, "_runtime_ssh_path", None)
    sudo = config.get("sudo", {}).get("password")
    options = SshOptions(config_file=Path(file).expanduser() if file else None, sudo_password=sudo or None)
    timeout = config.get("timeouts", {}).get("connect")
    return with_connect_kwargs(options, dict(config.get("connect_kwargs", {})), timeout)


def with_connect_kwargs(options: SshOptions, given: dict[str, Any], timeout: float | None) -> SshOptions:
    """What Fabric's ``connect_kwargs`` say (``key_filename``, ``password``, ``passphrase``, ``timeout``)."""
    files = given.get("key_filename") or ()
    names = [files] if isinstance(files, str) else files
    limit = timeout or given.get("timeout") or options.connect_timeout
    return replace(
        options,
        identities=tuple(Path(name).expanduser() for name in names) or options.identities,
        password=given.get("password") or options.password,
        passphrase=given.get("passphrase") or options.passphrase,
        connect_timeout=float(limit) if limit else None,
    )
