# SPDX-License-Identifier: GPL-2.0-only
"""Reads C as the kernel's style has it: the places in functions where one edit can be made.

A site is a simple statement, a condition, an initialiser or the begin of a body. Sites do not
overlap, so that one file can hold the edits of all, each behind a choice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterator, NamedTuple, Optional

from nonblock.common import EXIT_TREE, Failure

TOKEN = re.compile(r'''
    (?P<blank>\s+ | /\*.*?\*/ | //[^\n]* | ^[ \t]*\#(?:[^\n\\]|\\.)*)
  | (?P<string>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*')
  | (?P<name>[A-Za-z_]\w*)
  | (?P<number>\d[\w.]*)
  | (?P<mark><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)
''', re.VERBOSE | re.DOTALL | re.MULTILINE)

# What can begin a declaration within a function
TYPES = {'struct', 'union', 'enum', 'const', 'static', 'unsigned', 'signed', 'int', 'long', 'char',
         'bool', 'void', 'short', 'size_t', 'volatile', 'extern', 'typeof', '__typeof__',
         'u8', 'u16', 'u32', 'u64', 's8', 's32', 's64', 'gfp_t', 'LIST_HEAD', 'LLIST_HEAD'}
OPEN, CLOSE = {'(': ')', '[': ']', '{': '}'}, {')', ']', '}'}
# These declare something that lasts until the end of the block: not to be put into another
SCOPED = {'guard', 'scoped_guard', 'CLASS', 'DEFINE_WAIT', 'DECLARE_COMPLETION_ONSTACK'}


class Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Site:
    kind: str           # 'statement', 'condition', 'initialiser', 'expression', 'entry', 'own'
    start: int
    end: int
    function: str
    result: str = ''    # what the function returns, of an 'entry'


@dataclass
class CFunction:
    name: str
    result: str
    start: int
    end: int
    sites: list[Site] = field(default_factory=list)
    trouble: str = ''   # what could not be read


def tokenize(text: str) -> list[Token]:
    return [Token(match.lastgroup or '', match[0], match.start(), match.end())
            for match in TOKEN.finditer(text) if match.lastgroup != 'blank']


def matching(tokens: list[Token], index: int) -> int:
    """The index of the bracket that closes this one."""
    depth = 0
    for here in range(index, len(tokens)):
        depth += (tokens[here].text in OPEN) - (tokens[here].text in CLOSE)
        if not depth:
            return here
    raise Failure(EXIT_TREE, f'no end of {tokens[index].text}')


class Body:
    """Reads the statements between two braces."""

    def __init__(self, tokens: list[Token], function: CFunction):
        self._tokens = tokens
        self._function = function

    def _add(self, kind: str, first: int, last: int, result: str = '') -> None:
        if first <= last:
            self._function.sites.append(Site(kind, self._tokens[first].start,
                                             self._tokens[last].end, self._function.name, result))

    def _text(self, index: int) -> str:
        return self._tokens[index].text

    def block(self, index: int) -> int:
        """Of the opening brace. Return the index after the closing one."""
        end = matching(self._tokens, index)
        index += 1
        while index < end:
            index = self.statement(index)
        return end + 1

    def _semicolon(self, index: int) -> int:
        while self._text(index) != ';':
            index = (matching(self._tokens, index) if self._text(index) in OPEN else index) + 1
        return index

    def statement(self, index: int) -> int:
        """Return the index after it."""
        word = self._text(index)
        if word == '{':
            return self.block(index)
        if word == ';':
            return index + 1
        if word in ('if', 'while', 'switch'):
            close = matching(self._tokens, index + 1)
            if word != 'switch':
                self._add('condition', index + 2, close - 1)
            index = self.statement(close + 1)
            if word == 'if' and self._text(index) == 'else':
                return self.statement(index + 1)
            return index
        if word == 'for':
            close = matching(self._tokens, index + 1)
            first = self._semicolon(index + 2)
            second = self._semicolon(first + 1)
            if self._text(index + 2) not in TYPES:
                self._add('expression', index + 2, first - 1)
            self._add('condition', first + 1, second - 1)
            self._add('expression', second + 1, close - 1)
            return self.statement(close + 1)
        if word == 'do':
            index = self.statement(index + 1)
            close = matching(self._tokens, index + 1)
            self._add('condition', index + 2, close - 1)
            return close + 2
        if word in ('case', 'default') or (self._tokens[index].kind == 'name' and
                                           self._text(index + 1) == ':'):
            while self._text(index) != ':':
                index += 1
            return index + 1
        if self._text(index + 1) == '(' and word not in TYPES:
            close = matching(self._tokens, index + 1)
            if self._tokens[close + 1].kind == 'name' or self._text(close + 1) == '{':
                return self.statement(close + 1)        # a loop that is a macro
        return self._simple(index)

    def _simple(self, index: int) -> int:
        end = self._semicolon(index)
        second = self._tokens[index + 1]
        third = self._tokens[index + 2] if index + 2 <= end else second
        if self._text(index) in SCOPED:
            self._add('own', index, end)
        elif self._text(index) in TYPES or (
                self._tokens[index].kind == 'name' and self._text(index) not in (
                    'return', 'goto', 'break', 'continue') and
                (second.kind == 'name' or (second.text == '*' and third.kind == 'name' and
                                           self._text(index + 3) in ('=', ';', ',')))):
            self._declaration(index, end)
        else:
            self._add('statement', index, end)
        return end + 1

    def _declaration(self, index: int, end: int) -> None:
        fixed = self._text(index) == 'static'
        while index < end and self._text(index) != '=':
            index += 1
        last = index + 1
        while last < end and self._text(last) != ',':
            last = (matching(self._tokens, last) if self._text(last) in OPEN else last) + 1
        if index < end and self._text(index + 1) != '{':
            self._add('own' if fixed else 'initialiser', index + 1, last - 1)


def _head(tokens: list[Token], begin: int, brace: int) -> Optional[tuple[str, str]]:
    """What a function is called and returns, whose body begins at this brace."""
    if brace == begin or tokens[brace - 1].text == '=':
        return None
    for index in range(begin, brace - 1):
        if tokens[index].kind == 'name' and tokens[index + 1].text == '(' \
                and not tokens[index].text.startswith('__printf'):
            words = [token.text for token in tokens[begin:index]]
            return tokens[index].text, ' '.join(words)
    return None


def functions(text: str) -> Iterator[CFunction]:
    tokens = tokenize(text)
    begin = index = 0
    while index < len(tokens):
        word = tokens[index].text
        if word == ';':
            begin = index + 1
        elif word == '{':
            end = matching(tokens, index)
            head = _head(tokens, begin, index)
            if head and tokens[begin].text not in ('typedef',) and 'struct' != head[0]:
                function = CFunction(*head, tokens[begin].start, tokens[end].end)
                body = Body(tokens, function)
                try:
                    if index + 1 < end:
                        body.block(index)
                        function.sites.insert(0, Site('entry', tokens[index].end,
                                                      tokens[index].end, *head))
                except (Failure, IndexError) as error:
                    function.sites, function.trouble = [], str(error) or 'not in the usual style'
                yield function
                begin = end + 1
            index = end
        elif word in OPEN:
            index = matching(tokens, index)
        index += 1
