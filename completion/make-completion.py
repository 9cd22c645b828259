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
# What options take: one of these words, or what the shells know themselves. Of others nothing is known.
WORDS = {
    "json": "pretty short off",
    "state": "inactive starting running paused stopping failed",
    "job-mode": "replace fail",
    "kill-whom": "leader all",
    "output": "short short-full short-iso short-precise json json-pretty cat verbose",
    "format": "raw qcow2 raw.xz qcow2.xz raw.gz qcow2.gz raw.zst qcow2.zst",
    "on-idle": "pause stop nothing",
}
FILES = {"kernel", "initrd", "drive", "root"}
SHELLS_OWN = {"signal": "_signals -s", "host": "_hosts"}
REPEATED = {"property", "property-value", "state", "drive", "network", "set"}


def kind(verb):
    arguments = verb["arguments"]
    if verb["name"] in ("top", "monitor"):
        return "running"
    if verb["name"] in ("ssh", "exec", "proxy", "forward"):
        return "machine"
    if verb["name"] == "cp":
        return "copy"
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
    known = {*WORDS, *FILES, *SHELLS_OWN}
    other = [form for option in options.values() if option["argument"] and option["name"] not in known
             for form in forms(option)]
    values = [f"\t{' | '.join(forms(options[name]))}) words='{words}' ;;" for name, words in WORDS.items()]
    common = [form for name in tables["commonOptions"] for form in forms(options[name])]
    return {
        "VERB_OPTIONS": "\n".join(verb_options),
        "VERB_KINDS": "\n".join(verb_kinds),
        "COMMON": " ".join(common),
        "WORD_ARGUMENTS": "\n".join(values),
        "FILE_ARGUMENTS": "\t" + " | ".join(form for name in sorted(FILES) for form in forms(options[name])),
        "OTHER_ARGUMENTS": "\t" + " | ".join(other),
        "VERBS": " ".join(names),
    }


def quoted(text):
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def zsh_option(option):
    """Its forms as _arguments wants them, a line each."""
    name = option["name"]
    value = f"({WORDS[name]})" if name in WORDS else "_files" if name in FILES else SHELLS_OWN.get(name, " ")
    lines = []
    for form in forms(option):
        equals = "=" if form.startswith("--") and option["argument"] else ""
        argument = f":{quoted(option['argument'])}:{value}" if option["argument"] else ""
        repeated = "*" if name in REPEATED else ""
        lines.append(f"'{repeated}{form}{equals}[{quoted(option['help'])}]{argument}'")
    return lines


def zsh(tables, options):
    verbs = [f"\t\t'{verb['name']}:{quoted(verb['summary'])}'" for verb in tables["verbs"]]
    cases = []
    for verb in tables["verbs"]:
        names = "|".join([verb["name"], *verb["aliases"]])
        specs = [line for name in verb["options"] for line in zsh_option(options[name])]
        cases.append(f"\t\t{names})\n\t\t\tverb=$word kind={kind(verb)}\n\t\t\tspecs+=(")
        cases += [f"\t\t\t\t{line}" for line in specs]
        cases.append("\t\t\t)\n\t\t\t;;")
    common = [line for name in tables["commonOptions"] for line in zsh_option(options[name])]
    return {"ZSH_VERBS": "\n".join(verbs), "ZSH_CASES": "\n".join(cases),
            "ZSH_COMMON": "\n".join(f"\t\t{line}" for line in common)}


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
