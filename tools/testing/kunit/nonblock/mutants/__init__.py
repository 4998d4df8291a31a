# SPDX-License-Identifier: GPL-2.0-only
"""Break the series' code in one place after the other, and see whether a test fails."""
