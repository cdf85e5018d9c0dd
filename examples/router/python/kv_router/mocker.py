"""Mock workers as a process of their own: `python3 -m kv_router.mocker`. Ends on SIGTERM or SIGINT."""

import argparse
import logging
import signal
import sys
from pathlib import Path

from kv_router import DistributedRuntime, MockWorkers

logger = logging.getLogger("mocker")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--root", type=Path, required=True, help="registry of workers, and event files")
    parser.add_argument("--broker", help="address of the broker")
    parser.add_argument("--worker-ids", required=True, help="comma-separated")
    parser.add_argument("--dp-size", type=int, default=1)
    parser.add_argument("--event-plane", required=True)
    parser.add_argument("--request-plane", required=True)
    parser.add_argument("--capacity", type=int, default=4096, help="blocks in a rank's cache")
    parser.add_argument("--token-time", type=float, required=True, help="seconds for a token")
    parser.add_argument("--report-every", type=float, required=True, help="seconds between two reports of events")
    parser.add_argument("--report-at-most", type=int, required=True, help="events in a report")
    args = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    # Blocked before threads start, so that only `sigwait` below ever gets them.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)

    runtime = DistributedRuntime(args.namespace, args.root, args.broker, logger, scope="instance")
    workers = MockWorkers(
        runtime,
        [int(worker_id) for worker_id in args.worker_ids.split(",")],
        args.dp_size,
        args.event_plane,
        args.request_plane,
        args.capacity,
        args.token_time,
        args.report_every,
        args.report_at_most,
    )
    logger.info("workers %s are ready", args.worker_ids)
    received = signal.sigwait(ends)
    logger.info("%s: leaving, requests by worker: %s", signal.Signals(received).name, workers.n_requests())
    workers.leave()
    logger.info("left")


if __name__ == "__main__":
    main()
