# SPDX-License-Identifier: GPL-2.0-only
"""make explain: what kernel logs say. Nothing is installed for it."""

from __future__ import annotations

import sys

from nonblock.options import Options
from nonblock.verbs import Verb

EXIT_CODES = """exit codes:
  0  nothing found
  1  found: a callback, or the core, does what it may not
  2  a log could not be read, or what it reports could not be told"""


def run(options: Options) -> int:
    for name, text in (('MODULES', options.modules), ('KDIR', options.kdir)):
        if text and not options.vmlinux:
            print(f'note: {name}={text}: only with VMLINUX', file=sys.stderr, flush=True)
    # Here, so that the other verbs start sooner
    from nonblock.explain import explain
    return explain.run(options.log, options.json == '1', options.vmlinux,
                       options.modules if options.vmlinux else '', options.kdir)


VERB = Verb('explain', run, ('LOG', 'JSON', 'VMLINUX', 'MODULES', 'KDIR'), strict=False,
            exit_codes=EXIT_CODES)
