"""The contract between the laptop and the program on the host. Both import it, and it ships with the host program.

It imports the standard library and itself, and runs on Python 3.9. What both halves check is declared here, once: the
laptop adds the file, the line and the key to a refusal, the host trusts nothing and checks again.

**Session.** The laptop runs ``sudo -n deployer-host session APP`` over one SSH channel. It writes requests, one JSON
object a line, each with an ``op``; a ``release`` with ``"body": N`` is followed by N bytes. The host writes events, one
JSON object a line, each with an ``event``. A request is over when ``answer`` or ``finished`` has come. Before its first
event, a login may print anything.

**Ops.** ``ask`` (what the host has, and its PROTOCOL), ``status``, ``releases``, ``history``, ``logs``, ``calendars``
and ``attach`` only look. ``doctor`` looks, and with ``fix`` repairs. ``wait`` joins the queue for the lock, ``hold`` is
a keep-alive. ``release`` starts a job, ``phases`` continues one that is held between two phases, ``abort`` ends it.
``run`` runs one command in the current release. ``fab setup`` is no session: root sends the program itself and one
request (:mod:`~deployer.wire.setup.request`).

**Jobs.** A release runs in a transient systemd unit, whose name is the lock, so it outlives the session. Its phases are
``upload build install start migrate check switch drain watch``; from ``switch`` on, the new release may have traffic.
The job of a fleet stops at barriers until the laptop sends ``go``: before ``migrate``, ``check`` and ``switch``, and
at ``keep``, the end of the watch. ``undo`` ends it. Without a keep-alive for FLEET_LEASE seconds, a job at a barrier
before the switch undoes itself, and one at ``keep`` decides by its own watch.

**Exit codes.** 0 done, 1 a bug, 2 usage, 3 unreachable, 4 busy, 5 refused (the old release serves), 6 rolled back
(the old release serves again), 7 mixed, 130 interrupted.

- :mod:`~deployer.wire.protocol`: the version, phases, barriers, exit codes, names, and one message as bytes
- :mod:`~deployer.wire.message`: reads one request, bounded before it is parsed
- :mod:`~deployer.wire.reader`: reads the keys of a JSON object, each of the right type and form
- :mod:`~deployer.wire.release`: a release, what it runs, which Python it accepts, and which
  of its paths outlive it
- :mod:`~deployer.wire.environment`: variables, and systemd's file of them
- :mod:`~deployer.wire.setup`: what ``fab setup`` asks for, and what it installs
- :mod:`~deployer.wire.site`: the proxy's site
- :mod:`~deployer.wire.tree`: the files of a release, and the difference between two trees
- :mod:`~deployer.wire.advice`, :mod:`~deployer.wire.cause`: what to do next, and causes of failure
- :mod:`~deployer.wire.alongside`: work that goes on in a thread
- :mod:`~deployer.wire.sizes`: bytes as people read them
"""
