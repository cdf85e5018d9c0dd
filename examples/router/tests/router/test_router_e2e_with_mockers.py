"""The router end to end, with mock workers, a real broker and real processes."""

import asyncio
import itertools
import logging
import random
from collections import Counter

import pytest
from kv_router import BLOCK_SIZE, DistributedRuntime, publish_stored

from router.system import (
    System,
    arrive,
    converse,
    dump,
    random_tokens,
    send_request_with_retry,
    wait_until,
)
from router.variants import VARIANT

logger = logging.getLogger("router.test")

# Prompts of a conversation, each the one before and two blocks more.
N_TURNS = 4
N_BLOCKS_PER_TURN = 2
# Eight tokens take the engine 36 ms.
N_TOKENS = 8
# Prompts in front of the second router and behind it.
N_PROMPTS = 25
# The fixed time after which two indexers are expected to agree.
SETTLE_S = 0.150


@pytest.fixture
def system_of(directory, tmp_path, hub):
    def make(event_plane, request_plane):
        return System(directory, tmp_path, hub, event_plane, request_plane)

    return make


@pytest.mark.parametrize("request_plane", ["nats", "tcp"])
def test_mocker_kv_router(system_of, request_plane):
    """Requests sent at once are all answered."""

    async def serve(router):
        prompts = [random_tokens(2) for _ in range(16)]
        await asyncio.gather(*(send_request_with_retry(router, prompt, 1) for prompt in prompts))

    with system_of("nats_core", request_plane) as system:
        runtime = system.runtime()
        asyncio.run(serve(system.router(runtime)))
        runtime.shutdown()


@pytest.mark.parametrize(
    "event_plane, request_plane",
    [
        pytest.param(events, requests, id=f"{events}-{requests}")
        for events, requests in itertools.product(["jetstream", "nats_core", "no_kv_events"], ["nats", "tcp"])
    ],
)
def test_router_decisions(system_of, event_plane, request_plane):
    """A conversation stays with the worker that has its prefix."""

    async def talk(router):
        tokens = random_tokens(N_BLOCKS_PER_TURN * N_TURNS)
        prompts = [tokens[: BLOCK_SIZE * N_BLOCKS_PER_TURN * (turn + 1)] for turn in range(N_TURNS)]
        went = await converse(router, prompts, N_TOKENS)
        n_blocks = N_BLOCKS_PER_TURN * N_TURNS
        await wait_until(lambda: len(dump(router)) >= n_blocks)
        return went

    with system_of(event_plane, request_plane) as system:
        router = system.router(system.runtime())
        went = asyncio.run(talk(router))
        events = Counter(
            (event["target"]["worker_id"], event["target"]["dp_rank"]) for event in dump(router)
        )
        logger.info("turns went to %s; events by (worker_id, dp_rank): %s", went, dict(events))
        assert len(events) == 1, (
            "Expected exactly 1 (worker_id, dp_rank) to have events (due to prefix reuse), "
            f"but found {len(events)} with events: {list(events)}"
        )
        workers = {worker_id for worker_id, _ in went}
        assert len(workers) == 1, (
            "Expected all responses to have the same decode_worker_id (due to prefix reuse), "
            f"but found {len(workers)} unique values: {workers}"
        )


@pytest.mark.parametrize("event_plane", ["jetstream", "nats_core", "file"])
def test_indexers_sync(system_of, event_plane):
    """A router that comes later knows what the first one knows."""

    # Lengths differ as prompts of users do; how much a worker has to report, and how long it is behind, follows.
    prompts = [random_tokens(random.randint(1, 7)) for _ in range(2 * N_PROMPTS)]
    n_blocks = sum(len(prompt) for prompt in prompts) // BLOCK_SIZE

    async def fill(system, first):
        await arrive(first, prompts[:N_PROMPTS], 1)
        if VARIANT.resets:
            DistributedRuntime.reset()
        logger.info("Creating second KV router with its own runtime")
        runtime = system.runtime()
        second = system.router(runtime)
        logger.info("second router is there")
        await arrive(second, prompts[N_PROMPTS:], 1)
        if VARIANT.awaits_sync:
            await wait_until(lambda: len(dump(first)) == len(dump(second)) == n_blocks)
        else:
            await asyncio.sleep(SETTLE_S)
        return second

    with system_of(event_plane, "tcp") as system:
        runtime = system.runtime()
        first = system.router(runtime)
        second = asyncio.run(fill(system, first))
        n_first, n_second = len(dump(first)), len(dump(second))
        runtime.shutdown()
        logger.info("%d blocks; events: %d and %d", n_blocks, n_first, n_second)
        assert n_first == n_second, (
            "Router states have different numbers of events: "
            f"Router 1 has {n_first} events, Router 2 has {n_second} events"
        )


@pytest.mark.parametrize(
    "c_interface, request_plane", list(zip([True, False, True, False], ["tcp", "tcp", "nats", "nats"]))
)
def test_kv_push_router_bindings(system_of, c_interface, request_plane):
    """A router knows the blocks of an engine that reports through the C interface, and serves meanwhile."""
    n_blocks = 8
    engine = 1

    async def serve(router):
        await send_request_with_retry(router, random_tokens(1)[:4], 1)
        tokens = random_tokens(n_blocks)
        if not c_interface:
            return
        publisher = runtime.publisher_address() if VARIANT.scope == "instance" else None
        await asyncio.to_thread(publish_stored, engine, 1, tokens, publisher)
        is_known = await wait_until(lambda: len(dump(router)) == n_blocks)
        assert is_known, f"the router knows {len(dump(router))} of {n_blocks} blocks"

    with system_of("jetstream", request_plane) as system:
        runtime = system.runtime()
        asyncio.run(serve(system.router(runtime)))
        if not c_interface:
            runtime.shutdown()
