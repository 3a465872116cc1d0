"""A value that no output may show."""

from __future__ import annotations

__all__ = ["Secret"]


class Secret:
    """A string that must not be seen: ``str``, ``repr`` and ``format`` give ``****``.

    Only :meth:`reveal` gives the value; a search for that name finds every place where a secret is used.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The value itself, for the channel to the host and nothing else."""
        return self.__value

    def __repr__(self) -> str:
        return "****"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.__value == self.__value

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")
