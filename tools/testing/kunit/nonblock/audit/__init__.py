# SPDX-License-Identifier: GPL-2.0-only
"""A verdict on MMU notifier callbacks by the LLVM IR of the drivers."""
