"""One whole round of the keeper's loop, however long the machine takes for it."""

from __future__ import annotations

import asyncio

from mitschnitt.keeper.keeper import Keeper


async def one_round(keeper: Keeper) -> None:
    """The keeper looks at everything once; whatever it began by that has ended."""
    done, look = asyncio.Event(), keeper._look_at_agents

    async def last() -> None:
        await look()
        done.set()

    keeper._look_at_agents = last  # type: ignore[method-assign]  # what each round ends with
    try:
        loop = asyncio.create_task(keeper.step_forever())
        async with asyncio.timeout(60):
            await done.wait()
        loop.cancel()
        begun = [recorder.stepping for recorder in keeper.recorders.values() if recorder.stepping is not None]
        if keeper._renewal is not None:
            begun.append(keeper._renewal)
        await asyncio.gather(loop, *begun, return_exceptions=True)
    finally:
        del keeper._look_at_agents
