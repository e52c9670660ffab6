"""A tab of a real browser in which the page of the lab is open."""

from dataclasses import dataclass, field
from typing import Any

TOKEN = "token-of-the-tests"


@dataclass
class Tab:
    """A tab, what its console said, and what it requested."""

    page: Any
    url: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, view: str) -> Any:
        self.page.goto(f"{self.url}/?token={TOKEN}#{view}")
        return self.page
