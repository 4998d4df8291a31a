# SPDX-License-Identifier: GPL-2.0-only
"""The text of a .config, or of a part of one: two ways to read it, and one to write it.

Where a part says that an option is not set, it speaks of the machine that it is for. Who
adds it to another's takes assignments(); who asks what is on and off takes read_config().
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Mapping

SET = re.compile(r'^CONFIG_(\w+)=(.*)', re.MULTILINE)
NOT_SET = re.compile(r'^# CONFIG_(\w+) is not set', re.MULTILINE)


def assignments(config: Path) -> list[str]:
    """All that it sets, with =; what it says is not set is left out."""
    return [f'CONFIG_{name}={value}'
            for name, value in SET.findall(config.read_text(encoding='utf-8'))]


def read_config(config: Path) -> dict[str, str]:
    """Each option that it names; n is what it says is not set, too."""
    text = config.read_text(encoding='utf-8')
    return dict(SET.findall(text)) | dict.fromkeys(NOT_SET.findall(text), 'n')


def as_config(options: Mapping[str, str]) -> str:
    return ''.join(f'# CONFIG_{name} is not set\n' if value == 'n' else f'CONFIG_{name}={value}\n'
                   for name, value in options.items())
