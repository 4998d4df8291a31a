# SPDX-License-Identifier: GPL-2.0-only
"""python3 tools/testing/kunit/nonblock VERB, or python3 -m nonblock VERB"""

import sys
from pathlib import Path

if not __package__:
    # Run by the name of its folder, Python looks there for modules, not beside it.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from nonblock import cli, guard  # noqa: E402

# "explain" starts nothing, and reads what it is given.
sys.exit(cli.main() if sys.argv[1:2] == ['explain'] else guard.run(cli.main))
