#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""make-completion: fills the completion scripts with vmmctl's own tables of verbs and options.

    make-completion.py TEMPLATE OUTPUT VMMCTL
"""

import json
import subprocess
import sys

RUNNING = {"stop", "terminate", "reboot", "pause", "resume", "kill", "console", "wait", "memory", "list-devices",
           "set-limits", "resize-drive", "attach-drive", "detach-drive", "attach-network",
           "detach-network"}
# Options whose arguments bash's script completes by itself.
KNOWN = {"json", "state", "job-mode", "kill-whom", "signal", "output", "kernel", "initrd", "drive",
         "root", "host", "format"}


def kind(verb):
    arguments = verb["arguments"]
    if verb["name"] in ("top", "monitor"):
        return "running"
    if verb["name"] in ("ssh", "exec", "proxy", "forward"):
        return "machine"
    if verb["name"] == "help":
        return "help"
    if "NAME|FILE" in arguments:
        return "machine-or-file"
    if "FILE" in arguments:
        return "file"
    if "JOB" in arguments:
        return "job"
    if "IMAGE" in arguments or verb["name"] == "list-images":
        return "image"
    if "NAME" in arguments or "PATTERN" in arguments:
        return "running" if verb["name"] in RUNNING else "machine"
    return "nothing"


def forms(option):
    found = [] if option["name"] in ("json-auto", "property-value") else ["--" + option["name"]]
    return found + (["-" + option["letter"]] if option["letter"] else [])


def bash(tables, options):
    verbs = tables["verbs"]
    verb_options, verb_kinds, names = [], [], []
    for verb in verbs:
        words = " ".join(" ".join(forms(options[name])) for name in verb["options"])
        for name in [verb["name"], *verb["aliases"]]:
            verb_options.append(f"\t\t[{name}]='{words}'")
            verb_kinds.append(f"\t\t[{name}]={kind(verb)}")
        names.append(verb["name"])
    other = [form for option in options.values() if option["argument"] and option["name"] not in KNOWN
             for form in forms(option)]
    common = [form for name in tables["commonOptions"] for form in forms(options[name])]
    return {
        "VERB_OPTIONS": "\n".join(verb_options),
        "VERB_KINDS": "\n".join(verb_kinds),
        "COMMON": " ".join(common),
        "OTHER_ARGUMENTS": "\t" + " | ".join(other),
        "VERBS": " ".join(names),
    }


def quoted(text):
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def zsh(tables, options):
    kinds = {"machine": "_vmmctl_machines", "running": "_vmmctl_machines", "job": "_vmmctl_jobs", "image": "_vmmctl_images",
             "file": "_files", "help": "_vmmctl_verbs",
             "machine-or-file": "_alternative 'machines:machine:_vmmctl_machines' 'files:file:_files'"}
    verbs = [f"\t\t'{verb['name']}:{quoted(verb['summary'])}'" for verb in tables["verbs"]]
    arguments = []
    for verb in tables["verbs"]:
        if kind(verb) in kinds:
            names = "|".join([verb["name"], *verb["aliases"]])
            arguments.append(f"\t{names}) {kinds[kind(verb)]} ;;")
    lines = []
    for option in options.values():
        for form in forms(option):
            equals = "=" if form.startswith("--") and option["argument"] else ""
            value = f":{quoted(option['argument'])}:_files" if option["argument"] else ""
            lines.append(f"\t'{form}{equals}[{quoted(option['help'])}]{value}' \\")
    return {"ZSH_VERBS": "\n".join(verbs), "ZSH_ARGUMENTS": "\n".join(arguments),
            "ZSH_OPTIONS": "\n".join(lines)}


def main():
    template, output, vmmctl = sys.argv[1:4]
    tables = json.loads(subprocess.run([vmmctl, "help", "--json=short"], check=True,
                                       capture_output=True, encoding="utf-8").stdout)
    options = {option["name"]: option for option in tables["options"]}
    with open(template, encoding="utf-8") as file:
        text = file.read()
    for key, value in {**bash(tables, options), **zsh(tables, options)}.items():
        text = text.replace(f"@{key}@", value)
    with open(output, "w", encoding="utf-8") as file:
        file.write(text)


main()
