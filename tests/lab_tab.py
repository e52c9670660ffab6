"""A tab of a real browser in which the page of the lab is open."""

from dataclasses import dataclass, field
from typing import Any

TOKEN = "token-of-the-tests"


@dataclass
class Tab:
    """A tab, the messages of its console, and its requests."""

    page: Any
    url: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, view: str) -> Any:
        self.page.goto(f"{self.url}/?token={TOKEN}#{view}")
        return self.page


def fill_in_small_job(page: Any, n: int = 4) -> None:
    """Ask for a few samples of one class in two steps, in the view Sample."""
    page.get_by_role("button", name="horse", exact=True).click()
    page.get_by_label("Samples", exact=True).fill(str(n))
    page.get_by_label("steps", exact=True).fill("2")
