# SPDX-License-Identifier: GPL-2.0-only
"""The runner around kunit_tool."""
