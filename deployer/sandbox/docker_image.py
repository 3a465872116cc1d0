"""Docker images of the distributions: imported from a tree that was built here, or made from Debian's own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from deployer.sandbox import certificates, content, image, nspawn
from deployer.sandbox.backend import Progress
from deployer.sandbox.commands import run
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.files import as_tar
from deployer.sandbox.locks import exclusive

SOURCES = ("tree", "registry")
BUILD_TIMEOUT = 900.0
"""Seconds for one image; most of them go into fetching packages."""


def ensure(images: Path, distribution: str, *, environment: Mapping[str, str], progress: Progress) -> str:
    """The name of the image of `distribution`, made unless the engine has it.

    $DEPLOYER_SANDBOX_IMAGE_SOURCE says from what: "tree" (mmdebstrap, as root on Linux) or "registry"
    (`debian:…`); without it, a tree where one can be built. Raises SandboxError when neither can be had.
    """
    bundle = certificates.machine_bundle(environment)
    name = f"deployer-sandbox:{distribution}-{content.recipe_digest(distribution, bundle)}"
    images.mkdir(parents=True, exist_ok=True)
    with exclusive(images / f"docker-{distribution}.lock"):
        if run(["docker", "image", "inspect", name], environment=environment, check=False).returncode == 0:
            return name
        progress(f"making the Docker image of {distribution} (once, a minute or two)")
        if _source(environment) == "tree":
            tree = image.ensure_tree(images, distribution, environment=environment, progress=progress)
            _import(tree, name, environment)
        else:
            _build(distribution, bundle, name, environment)
    return name


def install_script() -> str:
    """The shell script that installs the packages into a container of Debian's own image."""
    return (
        "set -e; export DEBIAN_FRONTEND=noninteractive; apt-get -q update; "
        f"apt-get -q install -y --no-install-recommends {' '.join(content.PACKAGES)}; "
        "rm -rf /var/lib/apt/lists/*"
    )


def _source(environment: Mapping[str, str]) -> str:
    chosen = environment.get("DEPLOYER_SANDBOX_IMAGE_SOURCE")
    if chosen and chosen not in SOURCES:
        raise SandboxError(
            f"DEPLOYER_SANDBOX_IMAGE_SOURCE is {chosen!r}.", hint=f"set it to one of {', '.join(SOURCES)}"
        )
    return chosen or ("tree" if nspawn.unusable() is None else "registry")


def _import(tree: Path, name: str, environment: Mapping[str, str]) -> None:
    pack = ["tar", "--directory", str(tree), "--create", "--one-file-system", "."]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        try:
            subprocess.run(
                ["docker", "import", "-", name],
                env=environment,
                stdin=packing.stdout,
                capture_output=True,
                timeout=BUILD_TIMEOUT,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            packing.kill()
            raise SandboxError(f"docker import of {tree} failed.", console=str(error)) from None


def _build(distribution: str, bundle: str, name: str, environment: Mapping[str, str]) -> None:
    base = f"debian:{distribution}"
    started = run(
        ["docker", "run", "--detach", "--network=host", base, "sleep", "infinity"],
        environment=environment,
        timeout=BUILD_TIMEOUT,
    )
    container = started.stdout.decode().strip().splitlines()[-1]

    def inside(*command: str) -> bytes:
        docker = ["docker", "exec", container, *command]
        return run(docker, environment=environment, timeout=BUILD_TIMEOUT).stdout

    try:
        inside("/bin/sh", "-c", install_script())
        trusted = inside("cat", certificates.HOST_BUNDLE).decode()
        extra = as_tar(certificates.extra_authorities(bundle, trusted))
        run(["docker", "cp", "-", f"{container}:/"], input=extra, environment=environment)
        inside("/bin/sh", "-c", content.FINISH_SCRIPT)
        run(["docker", "commit", container, name], environment=environment, timeout=BUILD_TIMEOUT)
    finally:
        run(["docker", "rm", "--force", "--volumes", container], environment=environment, check=False)
