#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""bus-policy: the bus policy lets everyone call exactly the methods that the interfaces
describe, and nobody but root own the name.

    bus-policy.py DBUS-DIRECTORY
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tally import check, finish

directory = Path(sys.argv[1])

described = set()
for path in directory.glob("org.vmmd1.*.xml"):
    for interface in ElementTree.parse(path).iter("interface"):
        for method in interface.iter("method"):
            described.add((interface.get("name"), method.get("name")))

policies = {}
for policy in ElementTree.parse(directory / "org.vmmd1.conf").getroot():
    who = policy.get("user") or policy.get("context")
    policies[who] = [(rule.tag, rule.attrib) for rule in policy]

check("two policies", set(policies) == {"root", "default"}, set(policies))
check("only root owns", not any("own" in rule for _, rule in policies["default"]))
check(
    "root owns",
    ("allow", {"own": "org.vmmd1"}) in policies["root"],
)
check(
    "all is denied first",
    policies["default"][0] == ("deny", {"send_destination": "org.vmmd1"}),
)
allowed = set()
for tag, rule in policies["default"][1:]:
    check(f"allows only: {rule}", tag == "allow")
    if "send_destination" not in rule:
        continue
    check(f"names an interface: {rule}", "send_interface" in rule)
    if rule["send_interface"].startswith("org.vmmd1."):
        allowed.add((rule["send_interface"], rule.get("send_member")))
check("allowed is described", allowed <= described, allowed - described)
check("described is allowed", described <= allowed, described - allowed)
# polkit is asked for what it knows, and knows nothing that it is not asked for.
source = directory.parent
asked = set(re.findall(r'#define ACTION_\w+ "(org[.\w-]+)"', (source / "vmmd/bus.h").read_text()))
policy = ElementTree.parse(source / "policy/org.vmmd1.policy")
known = {action.get("id") for action in policy.iter("action")}
check("polkit's actions are those of vmmd", asked == known, asked ^ known)
for annotation in policy.iter("annotate"):
    check("implied actions exist", set(annotation.text.split()) <= known, annotation.text)
example = (source / "policy/50-vmmd-example.rules").read_text()
named = set(re.findall(r'"(org\.vmmd1[.\w-]+)"', example))
check("the example's actions exist", named and named <= known, named - known)
sys.exit(finish())
