# SPDX-License-Identifier: GPL-2.0-only
"""Configurations, machines, builds and boots."""
