"""One timer ends everybody's block in time, and only the blocks that take too long."""

from __future__ import annotations

import asyncio
import time

import pytest

from service.api.shared_timeout import SharedTimeout


async def stay(patience: SharedTimeout, seconds: float, after: float = 0.0) -> float:
    """Begin after a while, and stay in the block; returns how long that lasted where it was too long, else 0."""
    await asyncio.sleep(after)
    entered = time.monotonic()
    try:
        async with patience.bound():
            await asyncio.sleep(seconds)
    except TimeoutError:
        return time.monotonic() - entered
    return 0.0


async def test_each_has_the_whole_time_and_no_more() -> None:
    patience = SharedTimeout(0.2)
    stays = [stay(patience, 0.0), stay(patience, 60.0), stay(patience, 60.0, after=0.1), stay(patience, 0.05, 0.15)]
    short, long, later_and_long, later_and_short = await asyncio.gather(*stays)
    assert short == later_and_short == 0.0
    assert long >= 0.19
    assert later_and_long >= 0.19
    assert max(long, later_and_long) < 5


async def test_it_goes_on_after_all_have_left() -> None:
    patience = SharedTimeout(0.1)
    for _ in range(3):
        assert await stay(patience, 60.0) >= 0.09
        assert await stay(patience, 0.0) == 0.0


async def test_a_block_that_ends_late_does_not_hold_up_the_others() -> None:
    patience = SharedTimeout(0.1)

    async def hard_to_end() -> None:
        async with patience.bound():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.3)

    late = asyncio.create_task(hard_to_end())
    assert 0.09 <= await stay(patience, 60.0, after=0.05) < 5
    with pytest.raises(TimeoutError):
        await late


async def test_a_cancellation_from_outside_stays_one() -> None:
    waiting = asyncio.create_task(stay(SharedTimeout(60.0), 60.0))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
