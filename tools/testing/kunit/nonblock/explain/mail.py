# SPDX-License-Identifier: GPL-2.0-only
"""The transfer encodings of mail: quoted-printable and base64. Other lines are left alone."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Iterable, Iterator

ENCODING = 'Content-Transfer-Encoding: '
QUOTED = re.compile(r'=([0-9A-F]{2})')
# Mail may have no header, as where it is archived.
QUOTED_SIGN = re.compile(r'=3D|=20$|=2E|=09')
BASE64 = re.compile(r'[A-Za-z0-9+/]{1,1000}={0,2}$')
# Of a line that is put together from several
LONGEST = 2048


def unquote(text: str) -> str:
    return bytes(QUOTED.sub(lambda match: chr(int(match[1], 16)), text), 'latin-1',
                 'replace').decode('utf-8', 'replace') if '=' in text else text


class Mail:
    """The lines of text with their numbers; `count` is how many there were."""

    def __init__(self, raw: Iterable[str]):
        self._raw = raw
        self._quoted = False        # as the header says
        self._base64 = ''           # likewise: 'header' until the body begins, then 'body'
        self.count = 0

    def lines(self) -> Iterator[tuple[int, str]]:
        held, rest = '', b''
        for raw in self._raw:
            self.count += 1
            if ENCODING in raw:
                self._quoted = 'quoted-printable' in raw
                self._base64 = 'header' if 'base64' in raw else ''
            if self._base64 and (self._base64 == 'header' or rest or BASE64.match(raw)):
                decoded = self._decode(raw)
                if decoded is not None:
                    *whole, rest = (rest + decoded).split(b'\n')
                    for line in whole:
                        yield self.count, line.decode('utf-8', 'replace') + '\n'
                    continue
                if rest:
                    yield self.count, rest.decode('utf-8', 'replace') + '\n'
                    rest = b''
            if '=' in raw:
                bare = raw.rstrip('\r\n')
                soft = bare.endswith('=') and not bare.endswith('==')
                if self._quoted or QUOTED_SIGN.search(bare) or (soft and 70 < len(bare) < 78):
                    if soft and len(held) < LONGEST:
                        held += bare[:-1]
                        continue
                    raw = unquote(held + bare) + ('\n' if raw.endswith('\n') else '')
                    held = ''
            if held:
                raw, held = unquote(held) + raw, ''
            yield self.count, raw
        if held or rest:
            yield self.count, unquote(held) + rest[:LONGEST].decode('utf-8', 'replace')

    def _decode(self, raw: str) -> bytes | None:
        """A line of base64; nothing for what is not, as the header is not."""
        text = raw.strip()
        if self._base64 == 'header':
            if not text:
                self._base64 = 'body'
            return None
        if not BASE64.match(text):
            self._base64 = 'body' if not text else ''
            return None
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            return None
