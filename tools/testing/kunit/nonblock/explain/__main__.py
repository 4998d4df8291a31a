# SPDX-License-Identifier: GPL-2.0-only
"""python3 -m nonblock.explain"""

import sys

from .cli import main

if __name__ == '__main__':
    sys.exit(main())
