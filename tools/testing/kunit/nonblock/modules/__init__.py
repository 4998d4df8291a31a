# SPDX-License-Identifier: GPL-2.0-only
"""Modules that UML loads: the suites, the guide's examples, and drivers without their hardware."""
