# SPDX-License-Identifier: GPL-2.0-only
"""make explain: what kernel logs say. It needs no more than python3."""

from __future__ import annotations

import sys

from nonblock.common import EXIT_USAGE, Failure
from nonblock.explain import cli
from nonblock.options import Options
from nonblock.verbs import Verb


def explain(options: Options) -> int:
    if options.json not in ('', '0', '1'):
        raise Failure(EXIT_USAGE, f'JSON={options.json}: want 0 or 1')
    if options.modules and not options.vmlinux:
        print(f'note: MODULES={options.modules}: only with VMLINUX', file=sys.stderr, flush=True)
    return cli.run(options.log, options.json == '1', options.vmlinux,
                   options.modules if options.vmlinux else '', options.kdir)


VERB = Verb('explain', explain, ('LOG', 'JSON', 'VMLINUX', 'MODULES', 'KDIR'), strict=False,
            exit_codes=cli.EXIT_CODES)
