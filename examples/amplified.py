"""Looks for conditions under which rare failures of an example come often, and writes a page of what the tool said.

For each target: a sweep with nothing special, then `reproduce-flaky amplify` on it. The same command again goes on where
the last one stopped. REPRODUCE_FLAKY is the tool's command, `reproduce-flaky` without it.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass

TOOL = shlex.split(os.environ.get("REPRODUCE_FLAKY", "reproduce-flaky"))


@dataclass(frozen=True)
class Target:
    """A failure that is to come more often."""

    tag: str
    # A category, or an outcome.
    of: str
    # Flags of the sweep, and what pytest runs.
    words: tuple = ()
    pytest: tuple = ()
    # What the search tries, as `amplify` takes it; all that can be had here where it is empty.
    knobs: tuple = ()

    @property
    def base(self):
        return f"logs/serial_{self.tag}"

    @property
    def said(self):
        return pathlib.Path("logs/amplified") / f"{self.tag}.json"


def main(directory, targets, page, title):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tags", nargs="*", help="only these targets: " + ", ".join(target.tag for target in targets))
    parser.add_argument("--runs", type=int, default=75, help="runs with nothing special, of each target")
    parser.add_argument("--max-runs", type=int, default=150, help="most runs of each search")
    parser.add_argument("--jobs", type=int, default=2, help="sessions at a time")
    parser.add_argument("--knob", action="append", default=[], help="try these alone; as `amplify` takes them")
    parser.add_argument("--note", default="", help="what else is to be known of the machine, for the page")
    parser.add_argument("--write", action="store_true", help="only write the page, from what is there")
    asked = parser.parse_args()
    os.chdir(directory)
    for target in targets:
        if not asked.write and (not asked.tags or target.tag in asked.tags):
            run(target, asked)
    text = "\n".join(written(targets, title, asked.note)) + "\n"
    new = pathlib.Path(f"{page}.new")
    new.write_text(text)
    new.replace(page)


def run(target, asked):
    jobs = ["-j", str(asked.jobs)]
    pytest = ["--", *target.pytest] if target.pytest else []
    words = ["-p", "serial", "-s", "1", "-e", str(asked.runs), "-t", target.tag, *jobs, *target.words, *pytest]
    # 3: failures were reproduced; 4: some runs errored.
    if (code := subprocess.run([*TOOL, *words]).returncode) not in (0, 3, 4):
        sys.exit(code)
    words = ["amplify", target.base, "--of", target.of, *jobs, "--seed", "1", "--max-runs", str(asked.max_runs)]
    words += [f"--knob={knob}" for knob in asked.knob or target.knobs]
    ran = subprocess.run([*TOOL, *words, "--format", "json"], stdout=subprocess.PIPE, text=True)
    # 4: nothing was shown.
    if ran.returncode not in (0, 4):
        sys.exit(ran.returncode)
    target.said.parent.mkdir(exist_ok=True)
    target.said.write_text(ran.stdout.splitlines()[-1] + "\n")


def written(targets, title, note):
    known = [(target, json.loads(target.said.read_text())) for target in targets if target.said.exists()]
    runs = [run for target, said in known for run in recorded(target.base) + recorded(said["sweep"])]
    began = sorted(exit["started_at"][:16].replace("T", " ") for _, exit in runs)
    loads = [exit["load"] for _, exit in runs if exit.get("load") is not None]
    jobs = sorted({exit["jobs"] for _, exit in runs if exit.get("jobs") is not None})
    yield f"# {title}\n"
    yield "Written by `./amplified` from what `reproduce-flaky amplify` printed and recorded; what it means is in [README.md](README.md).\n"
    if not runs:
        return
    yield f"Runs of {began[0]} to {began[-1]} UTC. Machine: {os.cpu_count()} cores, Linux {platform.release().split('-')[0]},"
    yield f"Python {platform.python_version()}; {' or '.join(map(str, jobs))} sessions at a time, each in a container of its own (`-i host`)."
    yield f"Load average when a session began: {min(loads):.0f} to {max(loads):.0f}, median {statistics.median(loads):.1f}"
    yield f"({os.cpu_count()} is a machine that is all busy). {note}".rstrip() + "\n"
    yield "| failure | as it is, recorded and fresh | amplified, fresh | rate, at least | times as often, at least | with | runs of the search | other failures in them | without an answer |"
    yield "| --- | --- | --- | --- | --- | --- | ---: | --- | ---: |"
    factors = []
    for target, said in known:
        base, fresh = said["base"], said["amplified"]
        cells = [f"{target.of} of `{target.tag}`", f"{base['failed']}/{base['of']}: {interval(**base)}"]
        if said["state"] == "shown":
            # No failure counts as half of one.
            factor = (fresh["failed"] / fresh["of"]) / (max(base["failed"], 0.5) / base["of"])
            factors.append((factor, said["factor_low"]))
            cells += [f"{fresh['failed']}/{fresh['of']}: {interval(**fresh)}", f"{fresh['low']:.0%}"]
            cells += [f"{factor:.0f}, {said['factor_low']:.1f}", " + ".join(said["winner"])]
        else:
            factors.append((1.0, 0.0))
            cells += [said["state"], "", "", ""]
        cells += [str(said["runs"]), others(target, said), str(errored(said))]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    if factors:
        points, lows = (statistics.median(column) for column in zip(*factors))
        yield f"Median of the {len(factors)}: {points:.1f} times as often; of the lower bounds: {lows:.1f}. Where nothing was shown, 1 and 0 are counted;"
        yield "where it never failed as it is, half a failure. Intervals of rates: 95 %, Wilson's; lower bounds: 95 %, one-sided.\n"
    yield "## Each knob by itself\n"
    yield "How many times as often the failure came in runs of the search with it on, with the interval (90 % of all together);"
    yield "**bold** where it is told apart from 1.\n"
    names = list(dict.fromkeys(knob["name"] for _, said in known for knob in said["knobs"]))
    yield "| knob | " + " | ".join(f"{target.of} of `{target.tag}`" for target, _ in known) + " |"
    yield "| --- |" + " --- |" * len(known)
    for name in names:
        cells = [next(map(of_knob, (knob for knob in said["knobs"] if knob["name"] == name)), "") for _, said in known]
        yield f"| {name} | " + " | ".join(cells) + " |"


def of_knob(knob):
    high = "…" if knob["high"] is None else f"{knob['high']:.1f}"
    text = f"{knob['factor']:.1f} ({knob['low']:.1f} to {high})"
    if knob["verdict"] == "dropped":
        return f"{text}, dropped"
    return f"**{text}**" if knob["verdict"] in ("matters", "cures") else text


def recorded(sweep):
    """Outcome and exit of each run of a sweep."""
    runs = sorted(pathlib.Path(sweep).glob("run*/exit.json"))
    return [(json.loads((path.parent / "outcome.json").read_text()), json.loads(path.read_text())) for path in runs]


def others(target, said):
    """How often the search's runs failed in another class, by class."""
    found = {}
    for outcome, _ in recorded(said["sweep"]):
        classes = [*outcome["categories"], outcome["outcome"]]
        if outcome["verdict"] == "failed" and target.of not in classes:
            found[classes[0]] = found.get(classes[0], 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "0"


def errored(said):
    return sum(outcome["verdict"] == "errored" for outcome, _ in recorded(said["sweep"]))


def interval(failed, of, **_):
    """The rate with Wilson's interval."""
    if of == 0:
        return "not counted"
    z = 1.959964
    rate = failed / of
    middle = (rate + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(rate * (1 - rate) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return f"{rate:.1%} ({max(middle - half, 0):.1%} to {min(middle + half, 1):.1%})"
