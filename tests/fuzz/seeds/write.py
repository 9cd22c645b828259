#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""write.py NAME DIRECTORY: writes the seed corpus of a fuzz target whose inputs are binary.

A generator for each target, of its name, is in one of the modules beside this file. What a fuzzer
found is kept in ../corpus/NAME/, and replayed together with the seeds.
"""

import os
import sys

sys.dont_write_bytecode = True

import broker  # noqa: E402
import clients  # noqa: E402
import devices  # noqa: E402
import loader  # noqa: E402
import network  # noqa: E402
import ports  # noqa: E402
import rings  # noqa: E402
import served  # noqa: E402
import transports  # noqa: E402
import vhost  # noqa: E402

MODULES = broker, clients, devices, loader, network, ports, rings, served, transports, vhost


def main():
    name, directory = sys.argv[1:]
    generator = name.replace("-", "_")
    seeds = next(vars(module)[generator] for module in MODULES if generator in vars(module))
    os.makedirs(directory, exist_ok=True)
    for seed, data in seeds():
        with open(os.path.join(directory, seed), "wb") as file:
            file.write(data)
    os.utime(directory)


main()
