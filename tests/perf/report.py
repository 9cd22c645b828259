# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Rows of figures: medians, spread, ratios to peers, the table, JSON and the gate."""

import json
import statistics
import sys


class Row:
    """
    One figure. samples: {monitor: [value]}; ours is monitor 'vmmd', 'before' another build of it,
    'limit' what a bare loop reaches. better: 'less' or 'more'.
    """

    def __init__(self, suite, name, unit, better='less', goal=None, goal_ratio=None):
        self.suite = suite
        self.name = name
        self.unit = unit
        self.better = better
        self.goal = goal              # absolute, in unit
        self.goal_ratio = goal_ratio  # of ours to the best peer
        self.samples = {}

    @property
    def key(self):
        return f'{self.suite}/{self.name}'

    def add(self, monitor, value):
        self.samples.setdefault(monitor, []).append(value)

    def median(self, monitor):
        values = self.samples.get(monitor)
        return statistics.median(values) if values else None

    def spread(self, monitor):
        """Half the distance between the quartiles."""
        values = sorted(self.samples.get(monitor, []))
        if len(values) < 4:
            return (values[-1] - values[0]) / 2 if values else None
        low, _, high = statistics.quantiles(values, n=4)
        return (high - low) / 2

    def best_peer(self):
        peers = [name for name in self.samples if name not in ('vmmd', 'before', 'limit')]
        if not peers:
            return None
        choose = min if self.better == 'less' else max
        return choose(peers, key=self.median)

    def ratio(self):
        peer = self.best_peer()
        ours = self.median('vmmd')
        if peer is None or ours is None or not self.median(peer):
            return None
        return ours / self.median(peer)

    def ratio_before(self):
        """Of ours to that of the build that it is compared with."""
        before = self.median('before')
        ours = self.median('vmmd')
        return ours / before if ours is not None and before else None

    def reached(self):
        """How much of what the host allows, which is no monitor's, is reached by us."""
        limit = self.median('limit')
        ours = self.median('vmmd')
        if not limit or not ours:
            return None
        return ours / limit if self.better == 'more' else limit / ours

    def verdict(self):
        """'met', 'missed' or 'unmeasured' for the goal, None where there is none."""
        if self.goal_ratio is not None:
            return self._compare(self.ratio(), self.goal_ratio)
        if self.goal is not None:
            return self._compare(self.median('vmmd'), self.goal)
        return None

    def _compare(self, value, goal):
        if value is None:
            return 'unmeasured'
        met = value <= goal if self.better == 'less' else value >= goal
        return 'met' if met else 'missed'

    def as_json(self):
        return {
            'suite': self.suite, 'name': self.name, 'unit': self.unit, 'better': self.better,
            'goal': self.goal, 'goal_ratio': self.goal_ratio, 'ratio': self.ratio(),
            'reached': self.reached(),
            'verdict': self.verdict(), 'samples': self.samples,
            'medians': {name: self.median(name) for name in self.samples},
        }


def number(value):
    if value is None:
        return '-'
    if value == 0 or 0.01 <= abs(value) < 10:
        return f'{value:.2f}'
    return f'{value:.1f}' if abs(value) < 1000 else f'{value:,.0f}'


def print_table(rows, out=sys.stdout):
    header = ['FIGURE', 'UNIT', 'VMMD', 'SPREAD', 'BEST PEER', 'ITS', 'RATIO', 'GOAL', '']
    compared = any('before' in row.samples for row in rows)
    if compared:
        header += ['BEFORE', 'RATIO']
    limited = any('limit' in row.samples for row in rows)
    if limited:
        header += ['LIMIT', 'REACHED']
    lines = [header]
    for row in rows:
        peer = row.best_peer()
        goal = '-'
        sign = '<=' if row.better == 'less' else '>='
        if row.goal_ratio is not None:
            goal = f'ratio {sign} {number(row.goal_ratio)}'
        elif row.goal is not None:
            goal = f'{sign} {number(row.goal)}'
        lines.append([row.key, row.unit, number(row.median('vmmd')), number(row.spread('vmmd')),
                      peer or 'unmeasured', number(row.median(peer)) if peer else '-',
                      number(row.ratio()), goal, row.verdict() or ''])
        if compared:
            lines[-1] += [number(row.median('before')), number(row.ratio_before())]
        if limited:
            lines[-1] += [number(row.median('limit')), number(row.reached())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        print('  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip(), file=out)


def write_json(path, machine, rows):
    with open(path, 'w', encoding='utf-8') as f:
        json.dump({'machine': machine, 'rows': [row.as_json() for row in rows]}, f, indent=1)
        f.write('\n')


def load_floors(path):
    """{figure: {"ratio" or "value": N, "reason": text}}"""
    with open(path, encoding='utf-8') as f:
        floors = json.load(f)
    for key, floor in floors.items():
        if len({'ratio', 'value'} & set(floor)) != 1 or not floor.get('reason'):
            raise RuntimeError(f'{path}: {key} needs a ratio or a value, and a reason')
    return floors


def compare(row, floor):
    """(met, text); met is None where the row was not measured."""
    kind = 'ratio' if 'ratio' in floor else 'value'
    value = row.ratio() if kind == 'ratio' else row.median('vmmd')
    if value is None:
        return None, 'unmeasured'
    met = value <= floor[kind] if row.better == 'less' else value >= floor[kind]
    return met, f'{kind} {number(value)}, floor {number(floor[kind])}'


def gate(floors, rows, measure_again):
    """
    Compares rows with their floors. The suites of those that miss are measured once more, by
    measure_again(suites), for other work on the machine can make any figure bad; the second
    result holds. Returns (n_passed, n_failed, n_skipped); what was not measured never passes.
    """
    judged = {row.key: row for row in rows if row.key in floors}
    missed = [row for row in judged.values() if compare(row, floors[row.key])[0] is False]
    if missed:
        for row in missed:
            print(f'missed {row.key}: {compare(row, floors[row.key])[1]}; measuring again')
        for row in measure_again(sorted({row.suite for row in missed})):
            if any(row.key == other.key for other in missed):
                judged[row.key] = row
    counts = [0, 0, 0]
    print(f'1..{len(judged)}')
    for key, row in judged.items():
        met, text = compare(row, floors[key])
        words, i = {True: ('ok', 0), False: ('not ok', 1), None: ('skip', 2)}[met]
        counts[i] += 1
        print(f'{words} {key.replace(" ", "-").replace(":", "")}: {text}')
    return counts
