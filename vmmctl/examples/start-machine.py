#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""start-machine: starts machines over D-Bus, waits for each and says how it is doing.

    start-machine.py NAME...
"""
import sys
import time

import dbus

bus = dbus.SystemBus()
manager = dbus.Interface(bus.get_object("org.vmmd1", "/org/vmmd1"), "org.vmmd1.Manager")


def properties(name):
    machine = bus.get_object("org.vmmd1", manager.GetMachine(name))
    return machine.GetAll("org.vmmd1.Machine", dbus_interface="org.freedesktop.DBus.Properties")


try:
    for name in sys.argv[1:]:
        manager.StartMachine(name, "replace", dbus.UInt64(0))
    for name in sys.argv[1:]:
        while properties(name)["State"] == "starting" or properties(name)["Job"][0] != 0:
            time.sleep(0.1)
        machine = properties(name)
        print(f"{name}: {machine['State']}, guest {machine['GuestState']}, process {machine['Leader']}")
    sys.exit(any(properties(name)["State"] != "running" for name in sys.argv[1:]))
except dbus.DBusException as error:
    sys.exit(f"{error.get_dbus_name()}: {error.get_dbus_message()}")
