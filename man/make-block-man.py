#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""make-block-man: the manual page of a block of libvmmcore out of its header.

    make-block-man.py HEADER OUTPUT VERSION NEEDS...
    make-block-man.py --overview OUTPUT VERSION TEMPLATE HEADER...

Its description is the comment at the head; each public function and type comes with the comment
before it. NEEDS are the blocks that it needs.
"""

import re
import sys
from pathlib import Path


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("'", "\\(aq")
    text = text.replace("`", "\\(ga").replace("~", "\\(ti")
    return re.sub(r"^\.", r"\\&.", text, flags=re.M)


def comment_lines(comment):
    """The text of a comment, line by line."""
    lines = re.sub(r"^/\*|\*/$", "", comment.strip()).splitlines()
    return [lines[0].strip(), *(re.sub(r"^\s*\* ?", "", line).rstrip() for line in lines[1:])]


def prose(lines):
    """Paragraphs are filled; indented lines and tables are shown as they are."""
    out, shown = [], False
    for line in lines:
        literal = line.startswith((" ", "\t"))
        if literal != shown and line:
            shown = literal
            out += [".sp", ".nf"] if literal else [".fi", ".sp"]
        if line:
            out.append(roff(line.replace("\t", "        ")))
        elif out and out[-1] not in (".sp", ".nf", ".fi"):
            out.append(".sp")
    return out + ([".fi"] if shown else [])


def declarations(text):
    """[(comment or "", declaration)] of what is public, in the header's order."""
    found = []
    pattern = re.compile(
        r"(?P<comment>/\*(?:(?!\*/).)*\*/\n)?"
        r"(?P<declaration>(?:^(?:struct|enum) \w+ \{.*?^\};|^VMM_PUBLIC .*?;))", re.S | re.M)
    for match in pattern.finditer(text):
        found.append((match["comment"] or "", match["declaration"]))
    return found


def head_of(header, text):
    """What the block is in a few words, and the lines of the comment at the head."""
    comments = re.findall(r"/\*.*?\*/", text, re.S)
    head = next(c for c in comments if "SPDX" not in c)
    body = "\n".join(comment_lines(head)).strip()
    body = re.sub(rf"^{re.escape(Path(header).stem)}: ", "", body)
    what = re.split(r"[.:;](?:\s|$)", " ".join(body.split("\n\n")[0].split()))[0]
    rest = body.splitlines()
    rest[0] = rest[0][:1].upper() + rest[0][1:]
    return what, rest


def overview(output, version, template, headers):
    lines = Path(template).read_text(encoding="utf-8").replace("@VERSION@", version).splitlines()
    blocks = []
    for header in headers:
        what, _ = head_of(header, Path(header).read_text(encoding="utf-8"))
        blocks += [".TP", f"\\fBvmmcore\\-{roff(Path(header).stem)}\\fR(3)", roff(what)]
    at = lines.index("@BLOCKS@")
    Path(output).write_text("\n".join(lines[:at] + blocks + lines[at + 1:]) + "\n", encoding="utf-8")


def main():
    if sys.argv[1] == "--overview":
        overview(*sys.argv[2:5], sys.argv[5:])
        return
    header, output, version, *needs = sys.argv[1:]
    text = Path(header).read_text(encoding="utf-8")
    block = Path(header).stem
    what, rest = head_of(header, text)
    out = [".\\\" SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause",
           f".TH VMMCORE\\-{roff(block.upper())} 3 \"\" \"libvmmcore {version}\"",
           ".SH NAME", f"vmmcore\\-{roff(block)} \\- {roff(what)}",
           ".SH SYNOPSIS", ".nf", f"#include <vmmcore/{roff(block)}.h>", ".sp",
           f"cc ... $(pkg\\-config \\-\\-cflags \\-\\-libs vmmcore\\-{roff(block)})", ".fi",
           ".SH DESCRIPTION", *prose(rest)]
    out += [".SH TYPES AND FUNCTIONS"]
    for comment, declaration in declarations(text):
        declaration = declaration.replace("VMM_PUBLIC ", "")
        out += [".PP", ".nf", *(roff(line.replace("\t", "    ")) for line in declaration.splitlines()), ".fi"]
        if comment:
            out += [".RS 4", *prose(comment_lines(comment)), ".RE"]
    also = ["libvmmcore", *(f"vmmcore\\-{roff(need)}" for need in needs)]
    out += [".SH SEE ALSO", ", ".join(f"\\fB{name}\\fR(3)" for name in also)]
    # A blank line is a break to roff; ours are said.
    Path(output).write_text("\n".join(line for line in out if line) + "\n", encoding="utf-8")


main()
