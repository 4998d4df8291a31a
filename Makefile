# SPDX-License-Identifier: GPL-2.0-only
# The front door. Each verb prepares what it needs; `make help` explains them.

PYTHON ?= python3
RUNNER := tools/testing/kunit/nonblock

# The runner reads these from its environment: a path with a blank or a quote
# in it then needs no quoting here. It also knows the defaults, so that it can
# tell a KVER that was asked for from none.
export KVER KDIR JOBS V ARCH SMP RT SAN LLVM DRIVER TOPIC LOG VMLINUX MODULES JSON BASELINE JUNIT ONLY

# What packages.sh installs something for
MACHINE := $(filter x86_64 i386 arm64 arm riscv s390 powerpc powerpcle,$(ARCH)) \
	$(if $(filter 1,$(LLVM)),clang)

.NOTPARALLEL:
.PHONY: help run e2e driver modules drivers test test-quick test-all matrix mutants bench tree explain series check-series \
	audit clean

help:
	@sed -n 's/^#: \{0,1\}//p' $(RUNNER)/help.txt || : # whoever reads it may go

# What is given is checked first: nothing is installed, and then found wrong.
PACKAGES = CHECK='$(PYTHON) $(RUNNER) --check $@' sh $(RUNNER)/packages.sh

tree series:
	@$(PACKAGES) source
	@$(PYTHON) $(RUNNER) $@

run e2e modules test test-quick matrix mutants check-series:
	@$(PACKAGES) $(MACHINE) $(filter modules test test-quick check-series,$@)
	@$(PYTHON) $(RUNNER) $@

# The same as make modules DRIVER=
driver: export DRIVER = $(or $(DIR),$(error make driver DIR=PATH: the folder of your driver))
driver: modules
unexport DIR
ifeq ($(origin DIR),command line)
ifneq ($(filter-out driver,$(MAKECMDGOALS))$(filter command,$(origin DRIVER)),)
$(error DIR= is of make driver; elsewhere DRIVER=PATH)
endif
endif

drivers test-all:
	@$(PACKAGES) x86_64 drivers $(if $(filter test-all,$@),arm64 i386 arm riscv s390 powerpc powerpcle clang test-all)
	@$(PYTHON) $(RUNNER) $@

audit:
	@$(PACKAGES) audit
	@$(PYTHON) $(RUNNER) $@

bench:
	@$(PACKAGES) x86_64
	@$(PYTHON) $(RUNNER) $@

# Installs nothing: a log may be read on any machine that has python3.
explain:
	@$(PYTHON) $(RUNNER) $@

clean:
	@$(PYTHON) $(RUNNER) $@
