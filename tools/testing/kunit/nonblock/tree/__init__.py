# SPDX-License-Identifier: GPL-2.0-only
"""The kernel source, prepared with the hooks and suites; and the series made of it."""
