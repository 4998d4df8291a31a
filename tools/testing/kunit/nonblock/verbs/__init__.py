# SPDX-License-Identifier: GPL-2.0-only
"""What make runs, one file or more for each verb."""
