"""Events for the open pages: what happens is published once, and sent to each page as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

Event = dict[str, Any]
MAX_WAITING = 256
"""Events that a page may be behind: one that is further behind is disconnected, and begins anew with what is then."""
HEARTBEAT = 15.0
"""Seconds after which a comment is sent where nothing happens, so that a closed page is noticed."""


class Broadcast:
    """Passes every event that is published to all who are subscribed at that moment."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Event | None]] = set()

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return len(self._queues)

    def publish(self, event: Event) -> None:
        """Pass on an event, from the thread of the event loop."""
        for queue in list(self._queues):
            if queue.qsize() < MAX_WAITING:
                queue.put_nowait(event)
            else:
                self._queues.discard(queue)
                queue.put_nowait(None)

    def close(self) -> None:
        """End the streams of all pages."""
        for queue in self._queues:
            queue.put_nowait(None)

    async def stream(self, first: Callable[[], list[Event]]) -> AsyncIterator[str]:
        """The body of an event stream: first what is now, then what happens, until the page leaves."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            for event in first():
                yield as_text(event)
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), HEARTBEAT)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if event is None:
                    return
                yield as_text(event)
        finally:
            self._queues.discard(queue)


def as_text(event: Event) -> str:
    """One server-sent event that holds this as JSON."""
    return f"data: {json.dumps(event)}\n\n"
