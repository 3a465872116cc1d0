"""What ``fab doctor`` finds of an app on this host, of what setup prepared for it, and of what it stands on.

Each is declared once, for the finding and for the reference page. Others are in the modules that find them:
:mod:`~deployer.host.recovery.survey`, :mod:`~deployer.host.setup.users.login`, :mod:`~deployer.host.setup.machine`.
"""

from __future__ import annotations

from typing import Any

from deployer.host.proxy.proof import causes as certificates
from deployer.wire.advice import do, run
from deployer.wire.cause import Cause

_AS_ROOT = "on the host, as root: "
_SETUP = "fab setup -H root@HOST"
_POOLED = "after a switch a kept connection reaches the old release, and a POST may be lost"


def finding(kind: str, what: str, text: str, repair: str, *, fix: bool = False) -> dict[str, Any]:
    """A finding as it is told. ``what`` it is about; ``fix``: ``fab doctor --fix`` does the repair."""
    return {"kind": kind, "what": what, "text": text, "repair": repair, "fix": fix}


# What serves

UNREADABLE = Cause(
    "record-unreadable",
    "the record of a release cannot be read",
    "{problem}",
    do("fab deploy, then remove {path}: nothing can go back to it"),
)
STOPPED = Cause(
    "app-stopped",
    "the app was stopped, by `fab stop` or an admin: `fab doctor --fix` does not start it",
    "{unit} is stopped",
    run("fab start"),
)
JOB_UNIT_KEPT = Cause(
    "job-unit-kept",
    "the unit of deployer's own jobs is active, though its process has ended",
    "{unit} stays active though its job has ended: a setting on this host (RemainAfterExit) keeps it",
    do(_AS_ROOT + "systemctl cat {unit}   (names the file; deploys go on all the same)"),
)
JOB_UNIT_DEAD = Cause(
    "job-unit-dead",
    "the unit of deployer's own jobs has failed, and systemd still holds its name",
    "{unit} runs nothing, and systemd still holds it",
    do("it is freed"),
)
JOB_UNIT_TAKEN = Cause(
    "job-unit-taken",
    "somebody's unit file has the name of deployer's own unit",
    "{path} has the name of deployer's own unit: no deploy can begin",
    do(_AS_ROOT + "rm {path}; systemctl daemon-reload"),
)
PAGE_DOWN = Cause(
    "maintenance-page-down",
    "maintenance is on, and the socket of its page is not there",
    "maintenance is on and its page is not served: visitors get an error of the proxy's",
    do("fab maintenance on, again; or as root on the host: systemctl start {unit}"),
)
UNHEALTHY = Cause(
    "unhealthy",
    "the web process of what serves does not answer the health check as deploy.toml wants it",
    "{release} serves and is not healthy: {answer}",
    do("fab logs; fix it and fab deploy, or fab rollback"),
)
KEEPS_ENDING = Cause(
    "keeps-ending",
    "systemd has started a process again twice or more, and is at it or was in the last ten minutes",
    "{unit} keeps ending; it was started again {times} times",
    do("fab logs --process {process}; fix it and fab deploy, or fab rollback"),
)
PROCESS_DOWN = Cause(
    "process-down",
    "a process that takes no requests does not run",
    "{unit} does not run ({state})",
    do("{start}; fab logs --process {process} tells why it ended"),
)
TIMER_DOWN = Cause(
    "timer-down",
    "a timer is stopped",
    "the timer {process} is stopped: it starts no run",
    do("{start}"),
)
RUN_FAILED = Cause(
    "timer-run-failed",
    "the last run of a timer did not end with success",
    "the last run of the timer {process} failed ({result})",
    do("fab logs --process {process}; " + _AS_ROOT + "systemctl start {service}   (runs it again)"),
)
DAMAGED = Cause(
    "content-damaged",
    "the digest of a code tree or virtual environment is not the one that it was sealed with",
    "{release} is no longer what was built: its digest differs {damage}",
    do("fab deploy   (builds what is damaged anew); and look at the disk"),
)
SERVING = (
    UNREADABLE, STOPPED, JOB_UNIT_KEPT, JOB_UNIT_DEAD, JOB_UNIT_TAKEN, PAGE_DOWN, UNHEALTHY, KEEPS_ENDING, PROCESS_DOWN,
    TIMER_DOWN, RUN_FAILED, DAMAGED,
)  # fmt: skip

# What setup prepared

PASSWORD_ENDS = Cause(
    "password-ends",
    "the user of the app, or the deploy user, is an account with a password, which ends or has ended",
    "{user}: {problem}; {then}",
    do("as root on the host: chage -M -1 -I -1 -E -1 -d {today} {user}"),
)
ACCOUNT_ENDS = Cause(
    "account-ends",
    "the user of the app, or the deploy user, is an account without a password, which ends or has ended",
    "{user}: {problem}; {then}",
    run(_SETUP, "mends it"),
)
CONFINEMENT = Cause(
    "confinement-refused",
    "a unit with the confinement that setup found possible cannot be started any more",
    "nothing new of the app can be started on this host: {why}",
    run(_SETUP, "finds what it bears"),
)
SITE_OLD = Cause(
    "site-of-older-setup",
    "the proxy's site was written by a version that did not record it",
    "the site was set up by an older deployer",
    run(_SETUP, "writes it again"),
)
SITE_GONE = Cause(
    "site-gone",
    "the file of the proxy's site does not exist",
    "{path} is gone",
    run(_SETUP, "writes it again"),
)
SITE_CHANGED = Cause(
    "site-changed",
    "the file of the proxy's site is not the one that setup wrote",
    "{path} is not what setup wrote",
    do(_SETUP + "   (writes it again), or put it back"),
)
MEDIA = Cause(
    "media-closed",
    "a directory of uploads is missing, cannot be read by the proxy, or is not mounted where the proxy looks",
    "{problem}",
    run(_SETUP, "opens it again"),
)
NGINX_POOLS = Cause(
    "nginx-keeps-connections",
    "an upstream of nginx that leads to the app keeps its connections, in any site",
    f"{{where}} keeps connections to the app ({{words}}): {_POOLED}",
    do("take the line out, and have the location send: proxy_set_header Connection close"),
)
CADDY_POOLS = Cause(
    "caddy-keeps-connections",
    "a `reverse_proxy` of Caddy that leads to the app has no `keepalive off`",
    f"{{path}} keeps connections to the app, as Caddy does unless it is told not to: {_POOLED}",
    do("in its reverse_proxy block: transport http {{ keepalive off }}"),
)
PREPARED = (
    PASSWORD_ENDS, ACCOUNT_ENDS, CONFINEMENT, SITE_OLD, SITE_GONE, SITE_CHANGED, MEDIA,
    *certificates.CERTIFICATES, NGINX_POOLS, CADDY_POOLS,
)  # fmt: skip

# What it stands on

DATABASE_DOWN = Cause(
    "postgresql-silent",
    "the PostgreSQL that setup installed for the app does not answer",
    "PostgreSQL, which has the app's database, does not answer",
    do("as root on the host: pg_lsclusters   (shows its log); systemctl start postgresql"),
)
DUMPS_STOPPED = Cause(
    "dumps-stopped",
    "the timer of the daily dump is not active",
    "the database is not dumped: its timer is stopped",
    do("as root: systemctl enable --now {timer}"),
)
_DUMP_AGAIN = "as root on the host: journalctl -u {service} -n 30; systemctl start {service}   (makes one now)"
DUMP_FAILED = Cause(
    "dump-failed", "the last dump ended without success", "the last dump of the database failed", do(_DUMP_AGAIN)
)
DUMP_OLD = Cause(
    "dump-old",
    "the newest dump is older than two days",
    "the newest dump of the database is {days} days old",
    do(_DUMP_AGAIN),
)
REDIS_DOWN = Cause(
    "redis-silent",
    "the app's own Redis does not answer on its socket",
    "the app's Redis does not answer on {socket}",
    do("as root on the host: journalctl -u {unit} -n 30; systemctl restart {unit}"),
)
SCRUB_STOPPED = Cause(
    "scrub-stopped",
    "the timer of the weekly scrub is not active",
    "nobody reads what is kept here for damage of the disk: the timer of the weekly scrub is stopped",
    do("as root: systemctl enable --now {timer}"),
)
SERVICES = (SCRUB_STOPPED, DATABASE_DOWN, DUMPS_STOPPED, DUMP_FAILED, DUMP_OLD, REDIS_DOWN)
