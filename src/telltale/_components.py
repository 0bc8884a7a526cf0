"""Which things hang together: connected components, with names that do not depend on the order of what was joined.

>>> parts = Components()
>>> parts.join(["000", "003"])
>>> parts.join(["003", "007"])
>>> parts.join(["100"])
>>> parts.find("007"), parts.members("007"), len(parts.all())
('000', ['000', '003', '007'], 2)
"""

from __future__ import annotations

from collections.abc import Iterable


class Components:
    """Union-find over strings. A component is named by its smallest member."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def join(self, items: Iterable[str]) -> None:
        """Put all of `items` into one component."""
        first: str | None = None
        for item in items:
            root = self.find(item)
            if first is None or root == first:
                first = root
                continue
            first, other = min(first, root), max(first, root)
            self._parent[other] = first

    def find(self, item: str) -> str:
        """The name of the component that holds `item`, which is added where it is new."""
        parent = self._parent
        root = parent.setdefault(item, item)
        while parent[root] != root:
            root = parent[root]
        while parent[item] != root:
            parent[item], item = root, parent[item]
        return root

    def all(self) -> dict[str, list[str]]:
        """Name -> sorted members."""
        found: dict[str, list[str]] = {}
        for item in sorted(self._parent):
            found.setdefault(self.find(item), []).append(item)
        return found

    def members(self, item: str) -> list[str]:
        root = self.find(item)
        return sorted(other for other in list(self._parent) if self.find(other) == root)
