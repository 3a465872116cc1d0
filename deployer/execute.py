"""``fab run``: one command on every host, in the release that serves there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from deployer import events
from deployer.errors import ConfigError, Exit
from deployer.fleet import Fleet, conclude, each
from deployer.site import Site, open_remote

__all__ = ["execute"]


def execute(fleet: Fleet, argv: Sequence[str]) -> int:
    """Run a command on all hosts; the highest of their exit statuses, which are reported as they come.

    A host on which it could not be run counts with deployer's own exit code. Ctrl-C ends it on all of them, and gives
    130. Raises ConfigError when there is no command.
    """
    if not argv or not argv[0]:
        raise ConfigError(message="no command was given", next="fab run -- python manage.py check")
    try:
        ends = each(fleet, lambda site: _execute(site, argv, tell=len(fleet.sites) > 1), all_at_once=True)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    return conclude(fleet, ends, exit_of=int, worst=max)


def _execute(site: Site, argv: Sequence[str], *, tell: bool) -> int:
    with open_remote(site) as (remote, _):
        status = remote.execute(argv)
    if status and tell:
        message = f"{shlex.join(argv)[:200]} ended with exit status {status}"
        site.report(events.Failed(host=site.host, exit=status, message=message))
    return status
