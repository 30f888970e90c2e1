"""A client that hangs up ends the work that only it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled, and ClientDisconnect raised, when the client hangs up first.

    To be called after the body has been read: from then on `receive` has nothing to say but that.
    """
    waiter, gone = asyncio.current_task(), False
    assert waiter is not None  # noqa: S101 (a coroutine runs in a task)

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        waiter.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if gone and waiter.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        watching.cancel()
