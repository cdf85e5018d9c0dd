"""The system under test, put together for one test: broker, workers, runtimes, routers, and how they are talked to."""

import asyncio
import json
import logging
import os
import random
import sys
import time
from pathlib import Path

import kv_router
from kv_router import BLOCK_SIZE, DistributedRuntime, KvPushRouter
from services import broker
from services.managed_process import Services

from router.variants import VARIANT

logger = logging.getLogger("router.test")

MODEL = "Qwen/Qwen3-0.6B"
N_WORKERS = 2

# Engines hand their events over in batches: how often, and how many at most.
REPORT_EVERY_S = 0.060
REPORT_AT_MOST = 16
# The router applies what it received in batches.
APPLY_EVERY_S = 0.040
# An engine's time for a token; with much less, every turn comes before the events of the one before.
TOKEN_TIME_S = float(os.environ.get("ROUTER_TOKEN_TIME_S", "0.0045"))
# The fixed sleep before a first attempt: nearly as long as events take at their slowest.
FIRST_ATTEMPT_S = 0.036
# A user's longest time between an answer and the next request; each time is drawn, as users differ.
THINK_AT_MOST_S = 0.030
# Requests of independent users come at this distance, whether or not those before them have been answered.
ARRIVE_EVERY_S = 0.012
# The lease is renewed this often; the more often, the likelier it is just then that another runtime asks for it.
RENEW_EVERY_S = float(os.environ.get("ROUTER_RENEW_EVERY_S", "0.02"))


class System:
    """Everything of one test; ends with its `with` block."""

    def __init__(self, directory, scratch, hub, event_plane, request_plane):
        self.directory = directory
        self.scratch = scratch
        self.hub = hub
        self.event_plane = event_plane
        self.request_plane = request_plane
        self.namespace = f"ns{random.getrandbits(32):08x}"
        self.services = Services(VARIANT.stop_bound_s)
        self.broker = None

    def __enter__(self):
        self.services.__enter__()
        try:
            if self.request_plane == "nats" or self.event_plane in ("jetstream", "nats_core"):
                self.broker = broker.start(self.services, self.directory, self.scratch)
            self._start_workers()
        except BaseException:
            self.services.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        self.services.__exit__(*exception)

    def _start_workers(self):
        first = random.getrandbits(32)
        words = {
            "--namespace": self.namespace,
            "--root": self.scratch,
            "--worker-ids": ",".join(str(first + index) for index in range(N_WORKERS)),
            "--event-plane": self.event_plane,
            "--request-plane": self.request_plane,
            "--token-time": TOKEN_TIME_S,
            "--report-every": REPORT_EVERY_S,
            "--report-at-most": REPORT_AT_MOST,
        }
        if self.broker:
            words["--broker"] = self.broker
        process = self.services.start(
            "mocker",
            [sys.executable, "-m", "kv_router.mocker", *(word for pair in words.items() for word in pair)],
            self.directory / "python.log.txt",
            env={"PYTHONPATH": str(Path(kv_router.__file__).parents[1])},
        )
        instances = self.scratch / "instances"
        process.wait_until(lambda: len(list(instances.glob("*.json"))) == N_WORKERS)

    def runtime(self):
        return DistributedRuntime(
            self.namespace,
            self.scratch,
            self.broker,
            logger,
            scope=VARIANT.scope,
            publishes=self.event_plane == "jetstream",
            renew_every_s=RENEW_EVERY_S,
        )

    def router(self, runtime):
        """A router; it learns first what it serves."""
        name, revision = kv_router.fetch_model(runtime, self.hub.endpoint, MODEL)
        logger.info("serving %s at %s", name, revision[:8])
        enabled = os.environ.get("DYN_ROUTER_ENABLE_PREFIX_CACHE", "").lower() in ("1", "true", "yes")
        size = int(os.environ.get("DYN_ROUTER_PREFIX_CACHE_SIZE", "1000"))
        return KvPushRouter(
            runtime,
            self.event_plane,
            self.request_plane,
            VARIANT.tie_break,
            APPLY_EVERY_S,
            prefix_cache=size if enabled else None,
        )


async def send_request(router, tokens, max_tokens):
    """Sends a prompt once; returns worker id and rank."""
    worker_id, dp_rank, n_tokens = await asyncio.to_thread(router.generate, tokens, max_tokens)
    assert n_tokens == max_tokens
    return worker_id, dp_rank


async def send_request_with_retry(router, tokens, max_tokens, max_retries=4):
    """Sends a prompt, again after growing pauses if it fails; returns worker id and rank."""
    wait_s = FIRST_ATTEMPT_S
    for attempt in range(max_retries + 1):
        if attempt > 0 or VARIANT.sleeps_before_first_attempt:
            await asyncio.sleep(wait_s)
            wait_s *= 2
        try:
            return await send_request(router, tokens, max_tokens)
        except RuntimeError as error:
            logger.warning("attempt %d failed: %s", attempt + 1, error)
    raise AssertionError(f"no answer in {max_retries + 1} attempts")


async def wait_until_events_processed(router, timeout=5.0):
    """Awaits that everything the router has received counts; what has not arrived it cannot know of."""
    deadline = time.monotonic() + timeout
    while router.pending_events() > 0:
        assert time.monotonic() < deadline, "Timed out waiting for router indexer"
        await asyncio.sleep(0.001)


async def wait_until(condition, timeout=5.0):
    """Awaits a condition; returns whether it came true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True


async def converse(router, prompts, max_tokens):
    """One prompt after the other, as a user in a conversation sends them; returns where each went."""
    went = []
    for prompt in prompts:
        await asyncio.sleep(random.uniform(0, THINK_AT_MOST_S))
        if VARIANT.awaits_events == "before":
            await wait_until_events_processed(router)
        went.append(await send_request_with_retry(router, prompt, max_tokens))
        if VARIANT.awaits_events == "after":
            await wait_until_events_processed(router)
    return went


async def arrive(router, prompts, max_tokens):
    """Prompts of independent users, at a fixed distance."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    requests = []
    for index, prompt in enumerate(prompts):
        await asyncio.sleep(begun + index * ARRIVE_EVERY_S - loop.time())
        requests.append(asyncio.create_task(send_request(router, prompt, max_tokens)))
    await asyncio.gather(*requests)


def random_tokens(n_blocks):
    return [random.randrange(1, 50_000) for _ in range(n_blocks * BLOCK_SIZE)]


def dump(router):
    return json.loads(router.dump_events())
