# SPDX-License-Identifier: GPL-2.0-only
"""Logs that chance has changed: no crash, no hang, no name that is not in the log.

The rounds are bounded and their seeds fixed, so that a failure comes again.
"""

from __future__ import annotations

import json
import time
from random import Random

from nonblock.common import Failure

from nonblock.explain import places, show
from .base import COMPOSED, DATA, ExplainTest, as_bytes, named

ROUNDS = 400
LOGS = [path.read_bytes() for path in (*sorted(DATA.glob('*.log')), *sorted(COMPOSED.iterdir()))]
TEXTS = [log.decode() for log in LOGS if b'\0' not in log]


def drop(lines: list[str], chance: Random) -> list[str]:
    return [line for line in lines if chance.random() > 0.1]


def double(lines: list[str], chance: Random) -> list[str]:
    return [line for line in lines for _ in range(1 + (chance.random() < 0.1))]


def swap(lines: list[str], chance: Random) -> list[str]:
    lines = [*lines]
    for _ in range(5):
        one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
    return lines


def cut(lines: list[str], chance: Random) -> list[str]:
    first, last = sorted((chance.randrange(len(lines)), chance.randrange(len(lines))))
    return [*lines[first:last], lines[last][:chance.randrange(len(lines[last]) + 1)]]


def tear(lines: list[str], chance: Random) -> list[str]:
    return [line[:chance.randrange(len(line) + 1)] + '\n' if chance.random() < 0.1 else line
            for line in lines]


def mix(lines: list[str], chance: Random) -> list[str]:
    other = chance.choice(TEXTS).splitlines(keepends=True)
    mixed, queues = [], [[*lines], other]
    while any(queues):
        queue = chance.choice([queue for queue in queues if queue])
        mixed.append(queue.pop(0))
    return mixed


def spoil(lines: list[str], chance: Random) -> list[str]:
    text = ''.join(lines)
    for _ in range(20):
        place = chance.randrange(len(text))
        text = text[:place] + chance.choice('\0\x1b[({<>=&;:/+-# \t\n"\\0x') + text[place + 1:]
    return text.splitlines(keepends=True)


CHANGES = (drop, double, swap, cut, tear, mix, spoil)


class FuzzTest(ExplainTest):
    def check(self, log: bytes) -> set[str]:
        """The names that are shown."""
        start = time.process_time()
        try:
            answer = self.answer(log)
        except Failure:
            return set()            # It is no log any more, and that is said.
        text = '\n'.join(show.show(answer, places.nowhere))
        json.dumps(show.as_json(answer))
        self.assertLess(time.process_time() - start, 10)
        self.assertNotIn('None', text)
        return named(answer)

    def test_mutated_logs(self) -> None:
        chance = Random(22)
        for number in range(ROUNDS):
            lines = chance.choice(TEXTS).splitlines(keepends=True)
            applied = chance.sample(CHANGES, chance.randint(1, 3))
            for change in applied:
                lines = change(lines, chance) or ['\n']
            log = ''.join(lines)
            with self.subTest(number, changes=[change.__name__ for change in applied]):
                shown = self.check(log.encode('utf-8', 'replace'))
                if spoil not in applied:
                    for name in shown:
                        self.assertIn(name, log)

    def test_mutated_bytes(self) -> None:
        chance = Random(23)
        for number in range(ROUNDS // 4):
            data = bytearray(chance.choice(LOGS))
            for _ in range(chance.randint(1, 30)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            with self.subTest(number):
                self.check(bytes(data[:chance.randrange(len(data)) + 1]))

    def test_innocent_lines_stay_so(self) -> None:
        """What has no callback in it has no finding, however it is mixed."""
        innocent = (DATA / 'another_mutex.log').read_text() + (DATA / 'two_cpus.log').read_text()
        chance = Random(24)
        for number in range(ROUNDS // 4):
            lines = innocent.splitlines(keepends=True)
            for change in chance.sample((drop, double, swap, cut, tear), 2):
                lines = change(lines, chance) or ['\n']
            with self.subTest(number):
                try:
                    self.answer(as_bytes(''.join(lines)))
                except Failure:
                    continue
                self.assertEqual(named(self.found), set())
