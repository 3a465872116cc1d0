"""Base images: a Debian tree per distribution, built once by mmdebstrap and then shared by every host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from deployer.sandbox import certificates, content, mounts
from deployer.sandbox.commands import run
from deployer.sandbox.errors import SandboxError
from deployer.sandbox.files import write_into
from deployer.sandbox.locks import exclusive

BUILD_TIMEOUT = 900.0
"""Seconds one image may take to build; it takes about one minute with a near mirror."""

Progress = Callable[[str], None]


def ensure_tree(images: Path, distribution: str, *, environment: Mapping[str, str], progress: Progress) -> Path:
    """The root directory of `distribution`'s image, built if it is not there yet.

    Two builders of one distribution take turns, and a tree has its final name only when it is whole.
    Raises SandboxError when mmdebstrap is missing or fails.
    """
    bundle = certificates.machine_bundle(environment)
    tree = images / f"{distribution}-{content.recipe_digest(distribution, bundle)}"
    if tree.is_dir():
        return tree
    images.mkdir(parents=True, exist_ok=True)
    with exclusive(images / f"{distribution}.lock"):
        if not tree.is_dir():
            _remove_leftovers(images, distribution)
            progress(f"building the {distribution} image (once, about a minute)")
            _build(tree, distribution, bundle)
    return tree


def mmdebstrap_command(distribution: str, target: Path) -> list[str]:
    """The command that fills `target`; documentation is left out, because nobody reads it there."""
    excluded = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
    return [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(content.PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in excluded),
        distribution,
        str(target),
    ]


def _build(tree: Path, distribution: str, bundle: str) -> None:
    if shutil.which("mmdebstrap") is None:
        raise SandboxError(
            "mmdebstrap, which builds the sandbox's images, is not installed.",
            state="Nothing was created.",
            hint="apt-get install mmdebstrap debian-archive-keyring",
        )
    unfinished = tree.with_name(f".{tree.name}.{os.getpid()}")
    try:
        run(mmdebstrap_command(distribution, unfinished), timeout=BUILD_TIMEOUT)
        trusted = (unfinished / certificates.HOST_BUNDLE.lstrip("/")).read_text(encoding="utf-8")
        write_into(unfinished, certificates.extra_authorities(bundle, trusted))
        finish = ["chroot", str(unfinished), "/bin/sh", "-c", content.FINISH_SCRIPT]
        run(finish, environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, timeout=120)
        unfinished.chmod(0o755)
        unfinished.rename(tree)
    finally:
        mounts.remove_tree(unfinished)


def _remove_leftovers(images: Path, distribution: str) -> None:
    for leftover in images.glob(f".{distribution}-*"):  # of a builder that was killed: we hold the lock
        mounts.remove_tree(leftover)
