"""The counting itself (tests/support/counts), on a real host: other tests assert on what it says."""

from __future__ import annotations

import pytest

from tests.support.counts import counted, missing
from tests.support.tiny import TinySite

WRITES = "mkdir built; for name in $(seq 40); do head -c 1000 /dev/zero > built/$name; done"


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_what_is_done_is_counted_where_it_is_done(mini: TinySite) -> None:
    """40 files that a build writes show in its unit and in the host's sum, and not in a reload; what is only sent shows
    in what the laptop reads."""
    mini.configure(build=[WRITES])
    mini.project.change(files={"large.txt": "x" * 300_000})
    with counted(mini) as deploy:
        mini.deploy()
    with counted(mini) as reload:
        mini.expect(0, "reload")
    build = deploy.units["deployer-mini-build.service"]
    assert build["created"] in range(40, 60)
    assert build["bytes_written"] in range(40_000, 80_000)
    job = deploy.units["deployer-mini.service"]
    assert job["bytes_written"] > 300_000
    assert deploy.host["bytes_written"] >= job["bytes_written"] + build["bytes_written"]
    assert deploy.host["synced"] > 0
    assert any(unit.startswith("mini-web@") for unit in deploy.units)
    assert deploy.laptop["opened"] > 0
    assert "deployer-mini-build.service" not in reload.units
    assert reload.host["bytes_written"] < 100_000
    assert 0 < reload.host["opened"] < deploy.host["opened"]


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_site_is_as_before_once_the_counting_is_over(mini: TinySite) -> None:
    """The command line of ``fab`` is the plain one again, also when the block fails."""
    plain = mini.argv("status")
    with pytest.raises(ZeroDivisionError), counted(mini):
        assert mini.argv("status") != plain
        raise ZeroDivisionError
    assert mini.argv("status") == plain
