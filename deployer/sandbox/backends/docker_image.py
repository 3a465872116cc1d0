"""Docker images of the distributions: imported from a tree that was built here, or made from Debian's own."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deployer.sandbox.backends import image, nspawn
from deployer.sandbox.backends.backend import Progress
from deployer.sandbox.contents import certificates, content
from deployer.sandbox.contents.files import as_tar
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.machine.commands import run
from deployer.sandbox.machine.locks import exclusive

SOURCES = ("tree", "registry")
BUILD_TIMEOUT = 900.0
"""Seconds for one image; most of them go into fetching packages."""


def ensure(images: Path, distribution: str, *, environment: Mapping[str, str], progress: Progress) -> str:
    """The name of the image of `distribution`, made unless the engine has it.

    $DEPLOYER_SANDBOX_IMAGE_SOURCE says from what: "tree" (mmdebstrap, as root on Linux) or "registry"
    (`debian:…`); without it, a tree where one can be built. Raises SandboxError when neither can be had.
    """
    bundle = certificates.machine_bundle(environment)
    name = image_name(distribution, bundle)
    images.mkdir(parents=True, exist_ok=True)
    waiting = f"waiting for another process that makes the Docker image of {distribution}"
    with exclusive(images / f"docker-{distribution}.lock", when_busy=lambda: progress(waiting)):
        if has(name, environment):
            return name
        if _source(environment) == "tree":
            tree = image.ensure_tree(images, distribution, environment=environment, progress=progress)
            progress(f"importing the {distribution} image into Docker")
            _import(tree, name, environment)
        else:
            place = hashlib.sha256(str(images).encode()).hexdigest()[:8]
            container = f"deployer-sandbox-{place}-image-of-{distribution}"
            _build(distribution, bundle, name, container, environment, progress)
    return name


def image_name(distribution: str, bundle: str) -> str:
    """What the engine calls the image of `distribution`."""
    return f"deployer-sandbox:{distribution}-{content.recipe_digest(distribution, bundle)}"


def has(name: str, environment: Mapping[str, str]) -> bool:
    """Whether the engine has the image."""
    return run(["docker", "image", "inspect", name], environment=environment, check=False).returncode == 0


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
                start_new_session=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            packing.kill()
            said = (error.stderr or b"").decode(errors="replace").strip() or str(error)
            raise SandboxError(f"docker import of {tree} failed.", console=said) from None


def _build(
    distribution: str, bundle: str, name: str, container: str, environment: Mapping[str, str], progress: Progress
) -> None:
    """The image, from Debian's own, by way of a container: its name tells whose it is, if its maker is killed."""
    title = f"making the Docker image of {distribution} (once, a minute or two)"

    def inside(what: str, *command: str) -> bytes:
        progress(f"{title}: {what}")
        docker = ["docker", "exec", container, *command]
        return run(docker, environment=environment, timeout=BUILD_TIMEOUT).stdout

    progress(title)
    _remove(container, environment)
    try:
        progress(f"{title}: fetching debian:{distribution}")
        start = ["docker", "run", "--detach", "--network=host", f"--name={container}", f"debian:{distribution}"]
        run([*start, "sleep", "infinity"], environment=environment, timeout=BUILD_TIMEOUT)
        inside("installing packages", "/bin/sh", "-c", install_script())
        trusted = inside("copying certificates", "cat", certificates.HOST_BUNDLE).decode()
        extra = as_tar(certificates.extra_authorities(bundle, trusted))
        run(["docker", "cp", "-", f"{container}:/"], input=extra, environment=environment)
        inside("finishing", "/bin/sh", "-c", content.FINISH_SCRIPT)
        run(["docker", "commit", container, name], environment=environment, timeout=BUILD_TIMEOUT)
    except SandboxError as error:
        raise SandboxError(
            f"The Docker image of {distribution} could not be made: {error.problem}",
            state="What was begun was removed; no host was made.",
            hint="see that Docker reaches its registry and has room (docker system df), and run it again",
            console=error.console,
        ) from None
    finally:
        _remove(container, environment)


def _remove(container: str, environment: Mapping[str, str]) -> None:
    run(["docker", "rm", "--force", "--volumes", container], environment=environment, check=False)
