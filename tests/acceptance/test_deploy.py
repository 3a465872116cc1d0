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


def test_a_secret_that_a_build_prints_is_masked(site: Site) -> None:
    """The value of a variable from the env_file never reaches the output, though the build prints it."""
    site.project.write(".gitignore", ".env\n")
    site.project.write(".env", "TEST_TOKEN=hunter2-hunter2\n")
    site.configure()
    config = (site.project.path / "deploy.toml").read_text().replace("build = [", 'build = ["echo token $TEST_TOKEN", ')
    site.project.write("deploy.toml", 'env_file = ".env"\n' + config)
    site.project.commit("a secret")
    ended = site.deploy()
    assert site.get("/env?key=TEST_TOKEN")["value"] == "hunter2-hunter2"
    assert ended.event("output", line="token ****")
    assert "hunter2" not in ended.text


def test_a_secret_that_a_failing_migration_prints_is_masked(site: Site) -> None:
    """Its last words are shown, told again to whoever attaches, and kept in the records: nowhere with the value."""
    site.deploy()
    site.project.write(".gitignore", ".env\n")
    site.project.write(".env", "TEST_TOKEN=hunter2-hunter2\n")
    site.configure()
    config = (
        (site.project.path / "deploy.toml").read_text().replace('migrate = "', 'migrate = "echo $TEST_TOKEN; false ')
    )
    site.project.write("deploy.toml", 'env_file = ".env"\n' + config)
    site.project.commit("a secret")
    ended = site.deploy(expect=5)
    assert "****" in ended.event("failed")["logs"]
    private = "/var/lib/deployer/shop"
    kept = f"{private}/ledger.jsonl {private}/jobs/*/events.jsonl /srv/shop/releases/*/release.json"
    told = (
        ended.text,
        site.fab("attach").text,
        site.host.run(f"cat {kept}; journalctl --no-pager -u shop.service").stdout,
    )
    assert ["hunter2" in one.replace("echo $TEST_TOKEN", "") for one in told] == [False, False, False]


def test_a_migration_left_out_is_made_up_for(site: Site) -> None:
    """A deploy of the code that serves already still migrates: the one before may have been told not to."""
    site.deploy("--no-migrate")
    assert site.deploy().event("phase.done", phase="migrate")
