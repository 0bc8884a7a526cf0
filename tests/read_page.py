"""What an HTML page would run, load or show.

>>> ReadPage('<a href="#x">=1</a>').values("href")
['#x']
"""

from __future__ import annotations

from html.parser import HTMLParser


class ReadPage(HTMLParser):
    """Collects what a page would run, load or show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.tags.pop()

    def handle_data(self, data: str) -> None:
        inside = self.lasttag if self.lasttag in {"script", "style"} and self.cdata_elem else ""
        {"script": self.scripts, "style": self.styles}.get(inside, self.text).append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]
