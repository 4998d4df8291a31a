# SPDX-License-Identifier: GPL-2.0-only
"""What the output of a boot says."""
