"""One host of a fleet: what is on it, what is to go wrong on it, and how all of that is put right."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.faults.install import Faults
from tests.support.faults.survey import Survey, survey
from tests.support.fleet import app
from tests.support.fleet.accident import thaw
from tests.support.site import Site


@dataclass
class Member(Site):
    """One host of the fleet, as tests of single hosts know it."""

    app: str = app.APP

    @property
    def url(self) -> str:
        return f"http://{self.host.address}:{app.PORT}"

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def faults(self) -> Faults:
        """What may be ordered to happen to the host program: pauses and kills at a boundary, failing writes."""
        return Faults(self.host, self.app)

    def break_app(self, kind: str, version: int = 0) -> None:
        """Have the code that is committed now, or that ``version``, be unhealthy, sick-in-service, … on this host."""
        version = version or int((self.project.path / "VERSION.txt").read_text())
        self.host.run(f"mkdir -p {app.FAULTS} && echo {version} > {app.FAULTS}/{kind}")

    def make_sick(self, release: str) -> None:
        """Have the app say from now on that it is not well, where it is of that release."""
        self.host.run(f"mkdir -p {app.FAULTS} && echo {release} >> {app.FAULTS}/sick")

    def survey(self) -> Survey:
        return survey(self.host, self.app)

    @property
    def job(self) -> str:
        """How systemd calls the state of the host's job: active, deactivating, inactive …"""
        unit = f"deployer-{self.app}.service"
        return str(self.host.run(["systemctl", "is-active", unit], check=False).stdout).strip()

    def migrations(self) -> list[str]:
        """The releases that the migration ran for on this host."""
        return str(self.host.run(f"cat {app.STATE}/migrations 2>/dev/null || true").stdout).split()

    def fill_disk(self, leave: int) -> None:
        """Fill the small disk but for so many megabytes, until the bed is :meth:`FleetBed.ready` again."""
        free = int(self.host.run("df --output=avail -k /srv | tail -1").stdout)
        self.host.run(["fallocate", "-l", f"{free - leave * 1024}K", "/srv/filler"])

    def mend(self) -> None:
        """Undo every accident: what is ordered, what is full, frozen or off."""
        thaw(self.host)
        if not self.host.is_on():
            self.host.boot()
        self.faults.clear()
        self.host.run(f"rm -rf {app.FAULTS} /srv/filler")

    def wipe(self) -> None:
        super().wipe()
        private = f"/var/lib/deployer/{self.app}"
        self.host.run(f"systemctl stop deployer-{self.app}-lease.timer", check=False)
        self.host.run(
            f"rm -rf {private}/ledger.jsonl {private}/last-release {private}/waiting/* {app.STATE}/*", check=False
        )
