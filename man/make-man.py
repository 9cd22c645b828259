#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""make-man: fills a manual page's template with what the program itself knows.

    make-man.py TEMPLATE OUTPUT VMMCTL VERSION PKGLIBEXECDIR METRICS.c [INTERFACE.xml...]

Lines @VERBS@ and @OPTIONS@ become vmmctl's verbs and common options, @KEYS@ the keys of .vm files,
@INTERFACES@ the bus interfaces with the comments of their XML, @METRICS@ what vmmctl metrics prints. The words @VERSION@ and
@PKGLIBEXECDIR@ are replaced anywhere.
"""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree


def roff(text):
    """Text as roff shows it."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("'", "\\(aq")
    return re.sub(r"^([.])", r"\\&\1", text, flags=re.M)


def run(vmmctl, *words):
    return subprocess.run(
        [vmmctl, *words], check=True, capture_output=True, encoding="utf-8"
    ).stdout


def option_item(option):
    forms = []
    if option["letter"]:
        argument = f" \\fI{roff(option['argument'])}\\fR" if option["argument"] else ""
        forms.append(f"\\fB\\-{option['letter']}\\fR{argument}")
    if option["name"] not in ("json-auto", "property-value"):
        argument = f"=\\fI{roff(option['argument'])}\\fR" if option["argument"] else ""
        forms.append(f"\\fB\\-\\-{roff(option['name'])}\\fR{argument}")
    return [".TP", ", ".join(forms), roff(option["help"]) + "."]


def paragraphs(details):
    """Sentences are filled, indented lines are shown as they are."""
    lines, shown = [], False
    for line in details.splitlines():
        if line.startswith(" ") != shown:
            shown = not shown
            lines += [".sp", ".nf"] if shown else [".fi", ".sp"]
        lines.append(roff(line))
    return lines + ([".fi"] if shown else [])


def verbs(vmmctl):
    tables = json.loads(run(vmmctl, "help", "--json=short"))
    options = {option["name"]: option for option in tables["options"]}
    lines, group = [], None
    for verb in tables["verbs"]:
        if verb["group"] != group:
            group = verb["group"]
            lines.append(f".SS {group}")
        arguments = f" \\fI{roff(verb['arguments'])}\\fR" if verb["arguments"] else ""
        lines += [".TP", f"\\fB{roff(verb['name'])}\\fR{arguments}"]
        lines.append(roff(verb["summary"]) + ".")
        if verb["aliases"]:
            names = " and ".join(f"\\fB{roff(alias)}\\fR" for alias in verb["aliases"])
            lines.append(f"Also called {names}.")
        if verb["details"]:
            lines += paragraphs(verb["details"])
        if verb["options"]:
            lines.append(".RS")
            for name in verb["options"]:
                lines += option_item(options[name])
            lines.append(".RE")
    return lines


def common_options(vmmctl):
    tables = json.loads(run(vmmctl, "help", "--json=short"))
    lines = []
    for option in tables["options"]:
        if option["name"] in tables["commonOptions"]:
            lines += option_item(option)
    return lines


def keys(vmmctl):
    lines = []
    for line in run(vmmctl, "verify", "--keys").splitlines():
        if line.startswith("["):
            lines.append(f".SS {roff(line)}")
        elif line.startswith(" "):
            lines.append(roff(line.strip()))
        elif line:
            key, _, rest = line.partition(" ")
            lines += [".TP", f"\\fB{roff(key)}\\fR {roff(rest)}"]
    return lines


def signature(element):
    name = roff(element.get("name"))
    if element.tag == "property":
        return f"\\fB{name}\\fR {element.get('type')}"
    arguments = []
    for argument in element.iter("arg"):
        direction = "out " if argument.get("direction") == "out" else ""
        arguments.append(f"{direction}{argument.get('type')} {argument.get('name')}")
    return f"\\fB{name}\\fR({roff(', '.join(arguments))})"


def interfaces(paths):
    lines = []
    for path in paths:
        parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
        root = ElementTree.parse(path, parser).getroot()
        for interface in root.iter("interface"):
            lines.append(f".SS {roff(interface.get('name'))}")
            comment = None
            for child in interface:
                if child.tag is ElementTree.Comment:
                    comment = " ".join(child.text.split())
                    continue
                lines += [".TP", f"{child.tag} {signature(child)}"]
                lines.append(roff(comment) if comment else "\\&")
                comment = None
    return lines


def metrics(source):
    """The table of vmmctl/metrics.c."""
    with open(source, encoding="utf-8") as file:
        text = file.read()
    table = re.search(r"\} metrics\[\] = \{(.*?)\n\};", text, re.S).group(1)
    row = r'\{\s*"(\w+)",\s*"(\w+)",\s*"(\w*)",\s*"([^"]+)",\s*OF_(\w+)'
    rows = [("machine_state", "stateset", "", "What the machine does, one sample a state", "MACHINE")]
    lines = []
    for name, kind, _, text, of in rows + re.findall(row, table):
        total = "_total" if kind == "counter" else ""
        label = {"MACHINE": "", "VCPU": "; label vcpu", "DRIVE": "; label drive",
                 "NETWORK": "; label network", "STATE": ""}[of]
        lines += [".TP", f"\\fBvmm_{name}{total}\\fR ({kind}{label})", roff(text) + "."]
    return lines


def main():
    template, output, vmmctl, version, pkglibexecdir, metrics_source = sys.argv[1:7]
    lines = []
    with open(template, encoding="utf-8") as file:
        for line in file.read().splitlines():
            if line == "@VERBS@":
                lines += verbs(vmmctl)
            elif line == "@OPTIONS@":
                lines += common_options(vmmctl)
            elif line == "@KEYS@":
                lines += keys(vmmctl)
            elif line == "@METRICS@":
                lines += metrics(metrics_source)
            elif line == "@INTERFACES@":
                lines += interfaces(sys.argv[7:])
            else:
                line = line.replace("@VERSION@", version)
                lines.append(line.replace("@PKGLIBEXECDIR@", pkglibexecdir))
    with open(output, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


main()
