# SPDX-License-Identifier: GPL-2.0-only
"""The walk through what is left of a callback, from its start to what sleeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Optional

from . import ir
from .sleeps import Argument, Knowledge, Values
from .specialise import ANY, DISPATCH, FINISH, ROOT

DEPTH = 60
WIDE = 64       # how many values of an argument are told from each other
NOTHING: Values = (frozenset(), True)
OPERATIONS: dict[str, Callable[[int, int], int]] = {
    'and': lambda one, other: one & other, 'or': lambda one, other: one | other,
    'xor': lambda one, other: one ^ other, 'add': lambda one, other: one + other,
    'shl': lambda one, other: one << other, 'lshr': lambda one, other: one >> other}


@dataclass
class Entered:
    """A function that is entered, and by which call."""
    function: ir.Function
    call: Optional[ir.Call] = None
    parent: Optional['Entered'] = None
    path: tuple[tuple[str, str, int], ...] = ()     # how it came here
    known: dict[tuple[str, int], Values] = field(default_factory=dict)

    def depth(self) -> int:
        return 1 + (self.parent.depth() if self.parent else 0)

    def evaluate(self, value: str, mask: int, depth: int = 0) -> Values:
        """What these bits of a value may be."""
        if value in ('true', 'false', 'null', 'undef', 'poison', 'zeroinitializer'):
            return frozenset({int(value == 'true') & mask}), False
        if value.lstrip('-').isdecimal():
            return frozenset({int(value) & mask}), False
        if depth > 40 or not value.startswith('%'):
            return NOTHING
        # Each is asked for once: of a loop nothing is known.
        if (value, mask) not in self.known:
            self.known[value, mask] = NOTHING
            made = self.function.value(value)
            self.known[value, mask] = self._made(made, mask, depth + 1) if made else \
                self._parameter(value, mask, depth + 1)
        return self.known[value, mask]

    def _parameter(self, value: str, mask: int, depth: int) -> Values:
        names = [parameter.rsplit(' ', 1)[-1] for parameter in self.function.parameters]
        if not self.call or not self.parent or value not in names:
            return NOTHING
        number = names.index(value)
        if number >= len(self.call.arguments):
            return NOTHING
        return self.parent.evaluate(ir.value_of(self.call.arguments[number]), mask, depth)

    def _made(self, made: str, mask: int, depth: int) -> Values:
        made = ir.DBG.sub('', made).split(', !')[0]
        words = made.split()
        if words[0] in OPERATIONS:
            one, other = made.rsplit(', ', 1)
            return self._combine(words[0], one.rsplit(' ', 1)[-1], other, mask, depth)
        if words[0] in ('zext', 'sext', 'trunc', 'freeze'):
            source = made.split(' to ')[0].rsplit(' ', 1)[-1]
            return self.evaluate(source, mask, depth)
        if words[0] == 'select':
            choices = [ir.value_of(part) for part in ir.split(made)[1:]]
        elif words[0] == 'phi':
            choices = [part.strip('[] ').split(',')[0].strip()
                       for part in ir.split(made[made.index('['):])]
        else:
            return NOTHING
        known: frozenset[int] = frozenset()
        more = False
        for choice in choices:
            found = self.evaluate(choice, mask, depth + 6)
            known, more = known | found[0], more or found[1]
        return known, more

    def _combine(self, name: str, one: str, other: str, mask: int, depth: int) -> Values:
        inner = mask if name in ('and', 'or', 'xor') else -1
        left, right = self.evaluate(one, inner, depth), self.evaluate(other, inner, depth)
        if name == 'and' and not left[1] != right[1] and left[1]:
            return NOTHING
        for side, else_side in ((left, right), (right, left)):
            # A constant may decide it alone.
            if name == 'and' and else_side == (frozenset({0}), False):
                return frozenset({0}), False
            if name == 'or' and else_side == (frozenset({mask}), False):
                return frozenset({mask}), False
        values = {OPERATIONS[name](a, b) & mask for a in left[0] for b in right[0] if b >= 0}
        return frozenset(list(values)[:WIDE]), left[1] or right[1] or len(values) > WIDE


@dataclass(frozen=True)
class ChainStep:
    place: ir.Place
    calls: str                      # what is called there


@dataclass
class LastCall:
    """A call that ends the walk: what sleeps, or what could not be followed."""
    name: str
    knowledge: Knowledge
    chain: list[ChainStep]
    pointer: bool = False           # a call through a pointer
    path: tuple[tuple[str, str, int], ...] = ()     # function, block, and number of each call

    @property
    def place(self) -> ir.Place:
        return self.chain[-1].place if self.chain else ir.Place('', '', 0)


@dataclass
class Walk:
    """All that is reached from the root; `decide` says of an external function what is known."""
    text: str
    tree: str
    decide: Callable[[str, Argument], Optional[Knowledge]]
    sleeps: list[LastCall] = field(default_factory=list)
    unknown: list[LastCall] = field(default_factory=list)
    calls: list[LastCall] = field(default_factory=list)      # those that do not sleep

    def __post_init__(self) -> None:
        self.functions = ir.read_functions(self.text)
        self.places = ir.Places(self.text, self.tree)
        self.seen: set[tuple[str, tuple[Values, ...]]] = set()

    def run(self) -> 'Walk':
        self._visit(Entered(self.functions[ROOT]), [])
        return self

    def _steps(self, call: ir.Call, calls: str) -> list[ChainStep]:
        places = self.places.chain(call.dbg)
        if calls.startswith(DISPATCH):
            calls = 'a pointer'
        names = [place.function for place in places[1:]] + [calls]
        return [ChainStep(place, name) for place, name in zip(places, names)]

    def _source_name(self, function: ir.Function) -> str:
        return function.name.split('.s')[0]

    def _visit(self, frame: Entered, chain: list[ChainStep]) -> None:
        for block, number, call in frame.function.calls():
            path = frame.path + ((frame.function.name, block, number),)
            name = ir.plain(call.callee) if call.callee else ''
            if not name or name.startswith('llvm.') or name == ANY:
                continue
            if call.indirect:
                steps = chain + self._steps(call, 'a function pointer')
                self.unknown.append(LastCall('a function pointer', Knowledge(None, 'unknown'),
                                             steps, True, path))
                continue
            inner = self.functions.get(name)
            if inner:
                self._enter(Entered(frame.function, frame.call, frame.parent, path, frame.known),
                            call, inner, chain)
                continue

            def argument(index: int, mask: int, call: ir.Call = call) -> Values:
                if not -len(call.arguments) <= index < len(call.arguments):
                    return NOTHING
                return frame.evaluate(ir.value_of(call.arguments[index]), mask)

            known = self.decide(name, argument)
            steps = chain + self._steps(call, name)
            finding = LastCall(name, known or Knowledge(None, 'nothing is known of it'), steps,
                               path=path)
            target = self.calls if known and known.sleeps is False else \
                self.sleeps if known and known.sleeps else self.unknown
            target.append(finding)

    def _enter(self, frame: Entered, call: ir.Call, inner: ir.Function,
               chain: list[ChainStep]) -> None:
        # What it is called with matters if that is a constant.
        values = tuple(frame.evaluate(ir.value_of(argument), -1) for argument in call.arguments)
        key = inner.name, tuple(NOTHING if more else (known, more) for known, more in values)
        above = Entered(inner, call, frame, frame.path)
        if key in self.seen or above.depth() > DEPTH:
            return
        self.seen.add(key)
        self._visit(above, chain + self._steps(call, self._source_name(inner)))


# What the root returns, and what it hands out

def returned(walk: Walk) -> Values:
    return _returns(walk, Entered(walk.functions[ROOT]), 0)


def _returns(walk: Walk, frame: Entered, depth: int) -> Values:
    known: frozenset[int] = frozenset()
    more = False
    for line in frame.function.lines:
        if not line.startswith('ret ') or line.startswith('ret void'):
            continue
        value = ir.value_of(ir.DBG.sub('', line).split(', !')[0])
        found = frame.evaluate(value, -1)
        call = ir.read_call(f'{value} = {frame.function.value(value)}') \
            if value.startswith('%') else None
        inner = walk.functions.get(ir.plain(call.callee)) if call and call.callee else None
        if call and inner and depth < 10:
            found = _returns(walk, Entered(inner, call, frame), depth + 1)
        known, more = known | found[0], more or found[1]
    return known, more


def hands_out_finish(walk: Walk) -> bool:
    """Whether the first of two passes may ask for the second."""
    for function in walk.functions.values():
        for line in function.lines:
            if f'@{FINISH}' in line and not line.startswith('store ptr null,'):
                return True
    return False


def does_something(walk: Walk) -> bool:
    """Whether there is any effect but on locks: a store, or a call that may have one."""
    return any(line.startswith(('store ', 'atomicrmw ', 'cmpxchg ')) or ' asm sideeffect' in line
               for function in walk.functions.values() for line in function.lines)


# What may decide what

def may_precede(walk: Walk, one: LastCall, other: LastCall) -> bool:
    """Whether the first call may come before the second, and so decide whether that comes."""
    for here, there in zip(one.path, other.path):
        if here == there:
            continue
        function, block, number = here
        if function != there[0]:
            return True
        if block == there[1]:
            return number < there[2] or block in walk.functions[function].reachable(block)
        return there[1] in walk.functions[function].reachable(block)
    return True
