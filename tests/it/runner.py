"""Plays GitHub's runner: runs the jobs of a workflow, or the steps of an action, with their own shell.

Artifacts are directories, expressions are evaluated as far as these files use them, and the actions that they use are
played here: checkout copies nothing, since the steps' files are at hand, and artifacts are copied. As on GitHub, an
artifact's name can be uploaded once in a run, a cancelled step gets INT and later TERM, and steps with `always()` run
after a cancellation and after a failure.

    runner.py CALL.json

CALL has `file`, `root` (the repository of the workflow), `workspace`, `temp`, `artifacts`, `state`, `inputs`, `github`,
`env`, `jobs` (names, or `shard/3` for one of a matrix; all without it) and `cancel` ({job: path}: once that file is there,
the step that runs is cancelled). The last line printed is {job: result}.
"""

import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from ruamel.yaml import YAML

call = json.load(open(sys.argv[1]))
document = YAML(typ="safe", pure=True).load(open(call["file"]))
# Outputs and results of jobs that an earlier attempt ran.
state = json.load(open(call["state"])) if os.path.exists(call["state"]) else {}

WORD = re.compile(r"'[^']*'|&&|\|\||[A-Za-z_][\w-]*(?:\.[\w-]+)*")


def evaluate(expression, contexts):
    def word(found):
        text = found.group()
        if text.startswith("'"):
            return repr(text[1:-1])
        if text in ("&&", "||"):
            return " and " if text == "&&" else " or "
        if text in ("always", "fromJSON", "and", "or"):
            return text
        return "look(%r)" % text

    def look(name):
        value = contexts
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    return eval(WORD.sub(word, expression), {"look": look, "always": lambda: True, "fromJSON": json.loads})


def filled(text, contexts):
    if isinstance(text, bool):
        return "true" if text else "false"

    def shown(found):
        value = evaluate(found.group(1).strip(), contexts)
        if value is None:
            return ""
        if isinstance(value, (bool, list, dict)):
            return json.dumps(value)
        return str(value)

    return re.sub(r"\$\{\{(.*?)\}\}", shown, str(text))


def wanted(condition, contexts, has_failed):
    if condition is None:
        return not has_failed
    condition = str(condition).replace("${{", "").replace("}}", "").strip()
    if has_failed and "always()" not in condition:
        return False
    return bool(evaluate(condition, contexts))


def upload(options):
    target = os.path.join(call["artifacts"], options["name"])
    assert not re.search(r'["<>|*?:\r\n/\\]', options["name"]), options["name"]
    assert not os.path.exists(target), "the artifact `%s` is there already" % options["name"]
    source = options["path"].strip()
    for folder, _, names in os.walk(source):
        for name in names:
            assert not re.search(r'["<>|*?:\r\n]', name), "an artifact may not hold `%s`" % name
    shutil.copytree(source, target)


def download(options):
    for name in sorted(os.listdir(call["artifacts"])):
        if fnmatch.fnmatchcase(name, options["pattern"]):
            shutil.copytree(os.path.join(call["artifacts"], name), os.path.join(options["path"], name))


def run_shell(script, env, job):
    """The exit code of a step's shell, or None where it was cancelled."""
    path = os.path.join(call["temp"], "step.sh")
    with open(path, "w") as file:
        file.write(script)
    step = subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", path],
        cwd=call["workspace"],
        env=env,
        stdin=subprocess.DEVNULL,
    )
    mark = call.get("cancel", {}).get(job)
    while mark and step.poll() is None:
        if os.path.exists(mark):
            del call["cancel"][job]
            for number, patience in ((signal.SIGINT, 7.5), (signal.SIGTERM, 2.5), (signal.SIGKILL, 60)):
                step.send_signal(number)
                try:
                    step.wait(patience)
                    return None
                except subprocess.TimeoutExpired:
                    pass
        time.sleep(0.05)
    return step.wait()


def play(steps, job, contexts, env):
    """Runs steps; the result of the job."""
    result = "success"
    contexts["steps"] = {}
    for number, step in enumerate(steps):
        known = {"outputs": {}, "outcome": "skipped"}
        contexts["steps"][step.get("id", "step %d" % number)] = known
        if not wanted(step.get("if"), contexts, result != "success"):
            continue
        name = filled(step.get("name") or step.get("uses") or step["run"], contexts)
        print("--", job, "-", name, flush=True)
        options = {key: filled(value, contexts) for key, value in step.get("with", {}).items()}
        uses = step.get("uses", "").split("@")[0]
        if uses == "actions/checkout":
            code = 0
            if options.get("path"):
                assert (options["repository"], options["ref"]) == ("owner/reproduce-flaky", "abc123"), options
                link = os.path.join(call["workspace"], options["path"])
                if not os.path.lexists(link):
                    os.symlink(call["root"], link)
        elif uses == "actions/upload-artifact":
            upload(options)
            code = 0
        elif uses == "actions/download-artifact":
            download(options)
            code = 0
        else:
            assert not uses, "no action `%s` is played" % uses
            files = {name: os.path.join(contexts["runner"]["temp"], name) for name in ("GITHUB_OUTPUT", "GITHUB_PATH")}
            files["GITHUB_STEP_SUMMARY"] = os.path.join(call["temp"], "summary.md")
            open(files["GITHUB_OUTPUT"], "w").close()
            own = {key: filled(value, contexts) for key, value in step.get("env", {}).items()}
            github = {"GITHUB_RUN_ATTEMPT": str(contexts["github"]["run_attempt"]), "GITHUB_RUN_ID": contexts["github"]["run_id"]}
            code = run_shell(
                filled(step["run"], contexts),
                {**os.environ, **call.get("env", {}), **github, **env, "RUNNER_TEMP": contexts["runner"]["temp"], **own, **files},
                job,
            )
            for line in open(files["GITHUB_OUTPUT"]):
                key, _, value = line.rstrip("\n").partition("=")
                known["outputs"][key] = value
        known["outcome"] = "cancelled" if code is None else "failure" if code else "success"
        if code != 0 and not step.get("continue-on-error"):
            print("-- the step ended with", "a cancellation" if code is None else code, flush=True)
            result = known["outcome"]
    return result


def contexts_of(job):
    temp = os.path.join(call["temp"], job.replace("/", "-"))
    # Each job has a machine of its own.
    shutil.rmtree(temp, ignore_errors=True)
    os.makedirs(temp)
    checkout = os.path.join(call["workspace"], ".reproduce-flaky")
    if os.path.islink(checkout):
        os.unlink(checkout)
    return {
        "inputs": call["inputs"],
        "github": call["github"],
        "runner": {"temp": temp, "os": "Linux"},
        "job": {"workflow_repository": "owner/reproduce-flaky", "workflow_sha": "abc123"},
        "secrets": {},
        "needs": {name: {"outputs": known["outputs"], "result": known["result"]} for name, known in state.items()},
    }


def defaults(declared):
    for name, known in (declared or {}).items():
        call["inputs"].setdefault(name, known.get("default"))


def workflow():
    # `on` is a word of YAML 1.1 for true.
    defaults((document.get("on") or document[True])["workflow_call"]["inputs"])
    asked = call.get("jobs")
    results = {}
    for name, job in document["jobs"].items():
        numbers = [None]
        matrix = job.get("strategy", {}).get("matrix")
        if matrix:
            numbers = json.loads(filled(matrix["shard"], contexts_of(name)))
            assert len(numbers) <= 256
        outputs = {}
        for number in numbers:
            own = name if number is None else "%s/%s" % (name, number)
            if asked is not None and own not in asked:
                continue
            contexts = contexts_of(own)
            contexts["matrix"] = {"shard": number}
            needed = job.get("needs", [])
            needed = [needed] if isinstance(needed, str) else needed
            has_failed = any(state[need]["result"] != "success" for need in needed)
            if not wanted(job.get("if"), contexts, has_failed):
                results[own] = "skipped"
                continue
            env = {}
            for part in (document.get("env", {}), job.get("env", {})):
                env.update({key: filled(value, contexts) for key, value in part.items()})
            results[own] = play(job["steps"], own, contexts, env)
            outputs = {key: filled(value, contexts) for key, value in job.get("outputs", {}).items()}
            state[name] = {"outputs": outputs, "result": results[own]}
        ran = [result for own, result in results.items() if own.split("/")[0] == name]
        if ran:
            bad = [result for result in ran if result != "success"]
            state[name] = {"outputs": outputs, "result": bad[0] if bad else "success"}
    json.dump(state, open(call["state"], "w"))
    return results


def action():
    defaults(document["inputs"])
    contexts = contexts_of("action")
    contexts["github"]["action_path"] = call["root"]
    return {"action": play(document["runs"]["steps"], "action", contexts, {})}


print(json.dumps(workflow() if "jobs" in document else action()))
