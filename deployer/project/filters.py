"""Files that git stores in filtered form (Git LFS pointers, git-crypt): they are refused, not uploaded."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from deployer.errors import ConfigError
from deployer.wire.advice import NOTHING, do, run
from deployer.wire.cause import Cause

_LFS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
_LONGEST_POINTER = 1024
"""Bytes, as Git LFS itself has it."""
_CRYPT = (b"\0GITCRYPT\0",)
_SHOWN = 10
CONTENT, POINTER, ENCRYPTED = 0, 1, 2
"""What a stored content is: the file's own, or what stands for it."""

LFS_POINTERS = Cause(
    "lfs-pointers",
    "files that ship are pointers of Git LFS: what they stand for has not been fetched here",
    "these are pointers of Git LFS and not the files themselves: {files}",
    run("git lfs install && git lfs pull") + do("or leave them out: export-ignore in .gitattributes"),
)
GIT_CRYPT = Cause(
    "git-crypt-locked",
    "files that ship are encrypted by git-crypt",
    "these are encrypted by git-crypt, which is locked here: {files}",
    run("git-crypt unlock") + do("or leave them out: export-ignore in .gitattributes"),
)
CAUSES = (LFS_POINTERS, GIT_CRYPT)


def raw_kind(size: int, head: bytes) -> int:
    """What a content of that many bytes is, by its first ``spool.HEAD`` bytes."""
    if size < _LONGEST_POINTER and head.startswith(_LFS):
        return POINTER
    return ENCRYPTED if head.startswith(_CRYPT) else CONTENT


def refuse_raw(kinds: Mapping[str, int]) -> None:
    """Raises ConfigError naming the files, given by path, that are pointers of Git LFS, or encrypted by git-crypt."""
    pointers = sorted(path for path, kind in kinds.items() if kind == POINTER)
    if pointers:
        install = NOTHING if shutil.which("git-lfs") else run("apt-get install git-lfs", "it is not installed here")
        raise ConfigError(
            message=LFS_POINTERS.message.format(files=listed(pointers)),
            state="nothing was touched",
            next=install + LFS_POINTERS.next,
        )
    encrypted = sorted(path for path, kind in kinds.items() if kind == ENCRYPTED)
    if encrypted:
        raise ConfigError(**GIT_CRYPT.told(files=listed(encrypted)), state="nothing was touched")


def filter_warning(name: str, paths: Sequence[str]) -> str:
    """The warning about files under a filter that this machine does not have: a checkout has them unfiltered, too."""
    return (
        f".gitattributes names the filter {name!r}, which is not set up on this machine, so these ship as git keeps "
        f"them: {listed(paths)}"
    )


def listed(paths: Sequence[str]) -> str:
    """The first paths, and how many more there are."""
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{', '.join(paths[:_SHOWN])}{more}"
