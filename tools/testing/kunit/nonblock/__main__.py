# SPDX-License-Identifier: GPL-2.0-only
"""python3 tools/testing/kunit/nonblock VERB, or python3 -m nonblock VERB"""

import os
import sys
from pathlib import Path

# A file that is closed would be the next one that is opened: of a log, or of a pipe.
for number, name in enumerate(('stdin', 'stdout', 'stderr')):
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        setattr(sys, name, open(number, 'w' if number else 'r', encoding='utf-8'))

if not __package__:
    # Run by the name of its folder, Python looks there for modules, not beside it.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from nonblock import cli, guard  # noqa: E402

# "explain" starts nothing, and reads what it is given.
sys.exit(cli.main() if sys.argv[1:2] == ['explain'] else guard.run(cli.main))
