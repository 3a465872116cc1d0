"""Base images: a Debian tree per distribution, built once by mmdebstrap and then shared by every host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from deployer.sandbox.backends import mounts
from deployer.sandbox.contents import certificates, content
from deployer.sandbox.contents.files import write_into
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.machine import space
from deployer.sandbox.machine.commands import run, run_long
from deployer.sandbox.machine.locks import exclusive

BUILD_TIMEOUT = 900.0
"""Seconds one image may take to build; it takes about one minute with a near mirror."""

NEEDED_BYTES = 450 * space.MIB
"""An image takes about half of it, and while it is built the packages' archives come on top."""
MIRROR = "deb.debian.org"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

Progress = Callable[[str], None]


def tree_path(images: Path, distribution: str, *, environment: Mapping[str, str]) -> Path:
    """Where the image of `distribution` is, or would be."""
    bundle = certificates.machine_bundle(environment)
    return images / f"{distribution}-{content.recipe_digest(distribution, bundle)}"


def ensure_tree(images: Path, distribution: str, *, environment: Mapping[str, str], progress: Progress) -> Path:
    """The root directory of `distribution`'s image, built if it is not there yet.

    Two builders of one distribution take turns, and a tree has its final name only when it is whole.
    Raises SandboxError when mmdebstrap is missing or fails, or the disk has no room; nothing of it is left then.
    """
    tree = tree_path(images, distribution, environment=environment)
    if tree.is_dir():
        return tree
    images.mkdir(parents=True, exist_ok=True)
    waiting = f"waiting for another process that builds the {distribution} image"
    with exclusive(images / f"{distribution}.lock", when_busy=lambda: progress(waiting)):
        if not tree.is_dir():
            _remove_leftovers(images, distribution)
            _build(tree, distribution, certificates.machine_bundle(environment), progress)
    return tree


def mmdebstrap_command(distribution: str, target: Path) -> list[str]:
    """The command that fills `target`; without documentation."""
    excluded = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(content.PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in excluded),
        distribution,
        str(target),
    ]


def _build(tree: Path, distribution: str, bundle: str, progress: Progress) -> None:
    if shutil.which("mmdebstrap") is None:
        raise SandboxError(
            "mmdebstrap, which builds the sandbox's images, is not installed.",
            state="Nothing was created.",
            hint="apt-get install mmdebstrap debian-archive-keyring",
        )
    space.refuse_small(tree.parent, NEEDED_BYTES, f"the {distribution} image")
    unfinished = tree.with_name(f".{tree.name}.{os.getpid()}")
    try:
        with space.watched(tree.parent):
            _fill(unfinished, distribution, bundle, progress)
            unfinished.chmod(0o755)
            unfinished.rename(tree)
    finally:
        mounts.remove_tree(unfinished)


def _fill(target: Path, distribution: str, bundle: str, progress: Progress) -> None:
    title = f"building the {distribution} image (once, about a minute)"
    progress(title)

    def tell(line: str) -> None:
        if line.startswith("I: ") and "..." in line:
            progress(f"{title}: {line[3:].rstrip('.')}")

    try:
        run_long(mmdebstrap_command(distribution, target), each_line=tell, timeout=BUILD_TIMEOUT)
    except SandboxError as error:
        raise _build_failed(error, distribution) from None
    trusted = (target / certificates.HOST_BUNDLE.lstrip("/")).read_text(encoding="utf-8")
    write_into(target, certificates.extra_authorities(bundle, trusted))
    finish = ["chroot", str(target), "/bin/sh", "-c", content.FINISH_SCRIPT]
    run(finish, environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, timeout=120)


def _build_failed(error: SandboxError, distribution: str) -> SandboxError:
    """The image's packages come over the network: what mmdebstrap said, and what to look at."""
    keyring = "" if KEYRING.exists() else "apt-get install debian-archive-keyring; then "
    return SandboxError(
        f"The {distribution} image could not be built: {error.problem}",
        state="What was begun was removed; no host was made.",
        hint=f"{keyring}see that this machine reaches {MIRROR} (apt's proxy settings are used), and run it again",
        console=error.console,
    )


def _remove_leftovers(images: Path, distribution: str) -> None:
    for leftover in images.glob(f".{distribution}-*"):  # of a builder that was killed: we hold the lock
        mounts.remove_tree(leftover)
