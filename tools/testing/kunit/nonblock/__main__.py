# SPDX-License-Identifier: GPL-2.0-only
"""python3 -m nonblock VERB"""

import sys

from .explain import cli

VERBS = {'explain': cli.main}

if __name__ == '__main__':
    if len(sys.argv) < 2 or sys.argv[1] not in VERBS:
        sys.exit(f'usage: python3 -m nonblock {{{",".join(VERBS)}}} ...')
    sys.exit(VERBS[sys.argv[1]](sys.argv[2:]))
