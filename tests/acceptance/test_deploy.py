"""The walking skeleton: deploy, reload, rollback on one real host, under load."""

from __future__ import annotations

import pytest

from tests.support.site import Site, versions

pytestmark = pytest.mark.acceptance


def test_deploy_reload_rollback_lose_no_request(deployed: Site) -> None:
    """Three changes of release under load: each serves in its turn, and no request fails."""
    first = deployed.serving
    with deployed.under_load() as load:
        deployed.project.change(version="2")
        serving = [first, deployed.deploy().event("finished")["serving"]]
        assert (deployed.serving, deployed.get()["version"]) == (serving[-1], "2")
        deployed.expect(0, "reload")
        assert (deployed.serving not in serving, deployed.get()["version"]) == (True, "2")
        deployed.expect(0, "rollback", "--to", first)
        assert (deployed.serving not in serving, deployed.get()["version"]) == (True, "1")
    assert versions(load.stop())[:2] == ["1", "2"]
