"""pylock.toml: which of its packages are in the code itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployer.project.shipped import Chosen, Reads, Shipped, local
from deployer.wire.lazyre import pattern

_CONDITION = pattern(r"""["']([^"']+)["']\s+in\s+(extras|dependency_groups)""")
_WORDS = {"extras": "the extra", "dependency_groups": "the dependency group"}


def read(shipped: Shipped, path: str, chosen: Chosen) -> Reads:
    """The lock, and what it names of the code. Raises ConfigError for what does not ship, and for a group or an extra
    that it does not have."""
    lock = shipped.toml(path)
    chosen.refuse_unknown(path, lock.get("dependency-groups", ()), lock.get("extras", ()))
    packages = [one for one in lock.get("packages", ()) if isinstance(one, dict)]
    reads = Reads(
        files=(path,),
        requires=str(lock.get("requires-python", "")).replace(" ", ""),
        absent=_absent(packages, lock, chosen),
        groups=tuple(map(str, lock.get("default-groups", ()))) if chosen.groups else (),
    )
    for package in packages:
        for place in _places(package):
            reads = reads.joined(local(shipped, place, f"{path}: {package.get('name')}"))
    return reads


def _places(package: Mapping[str, Any]) -> Iterator[str]:
    """The paths that a package is installed from."""
    wheels = package.get("wheels", ())
    for one in (package.get("directory"), package.get("archive"), package.get("sdist"), *wheels):
        if isinstance(one, dict) and "path" in one and "url" not in one:
            yield str(one["path"])


def _absent(packages: list[dict[str, Any]], lock: Mapping[str, Any], chosen: Chosen) -> dict[str, str]:
    """Packages for an extra or a group that is neither installed by default nor chosen."""
    default = {*lock.get("default-groups", ()), *chosen.groups, *chosen.extras}
    found = {}
    for package in packages:
        match = _CONDITION.search(str(package.get("marker", "")))
        if match and match[1] not in default:
            found[str(package.get("name", ""))] = f"{_WORDS[match[2]]} {match[1]!r}"
    return found
