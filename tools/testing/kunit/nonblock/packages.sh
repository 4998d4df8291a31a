#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Install what a UML kernel build and the runner need, if it is missing; with the
# argument x86_64, or the verb for one, what that takes as well; with "source" only what a
# prepared tree takes. Silent when nothing is. Before it installs anything it runs $CHECK, if
# that can be run, and ends if that fails. Exit status 7: this machine cannot be made ready.

set -u

# Package and reason. What Debian calls essential (tar, perl-base, dpkg,
# util-linux ...) is there already.
needed='python3 runs kunit.py and the runner
xz-utils unpacks the kernel source
patch applies the hooks
unifdef takes out of the files what is for other kernels
git tells source from build products in a tree of yours
debian-archive-keyring verifies what is downloaded'
tools='python3 xz patch unifdef git'

if [ "$*" != source ]; then
	needed="$needed
gcc compiles the kernel
libc6-dev headers for UML and the tools of the build, and what the selftests link
make builds the kernel
binutils links the kernel
flex generates Kconfig's lexer
bison generates Kconfig's parser
bc computes the kernel's time constants"
	tools="$tools gcc make ld flex bison bc"
fi

die()
{
	echo "packages.sh: $*" >&2
	exit 7
}

cross()
{
	needed="$needed
gcc-$1 compiles the kernel for that architecture
qemu-system-$2 runs it"
	# For make e2e, where that was tried
	[ -z "${3-}" ] || needed="$needed
libc6-dev-$3-cross is for the selftests"
}

for purpose; do
	case $purpose in
		x86_64 | i386) needed="$needed
qemu-system-x86 runs the kernel
libelf-dev is for the tools of the build
libssl-dev likewise" ;;
		arm64) cross aarch64-linux-gnu arm arm64 ;;
		arm) cross arm-linux-gnueabihf arm ;;
		riscv) cross riscv64-linux-gnu riscv ;;
		s390) cross s390x-linux-gnu s390x s390x ;;
		powerpc) cross powerpc64-linux-gnu ppc ;;
		powerpcle) cross powerpc64le-linux-gnu ppc ;;
		clang) needed="$needed
clang-19 compiles the kernel
lld-19 links it
llvm-19 is for the rest of the build" ;;
		drivers) needed="$needed
libibverbs-dev registers memory with Soft-RoCE
libnl-3-dev adds a Soft-RoCE device
libnl-route-3-dev is for libibverbs
pkgconf finds its headers
stress-ng is the load" ;;
		modules) needed="$needed
busybox-static is the shell for the commands of the guide" ;;
		test | test-quick | test-all) needed="$needed
busybox-static is the shell for the commands of the guide
quilt reads hooks/series
python3-yaml reads what CI systems run
libxml2-utils checks the JUnit XML
mypy checks the runner
pyflakes3 likewise
pycodestyle likewise
shellcheck checks this" ;;
		ci) needed="$needed
ca-certificates lets git fetch what is to be tested
ccache keeps what was compiled" ;;
	esac
	[ "$purpose" != test ] || needed="$needed
gcc-aarch64-linux-gnu compiles for arm64"
	case $purpose in
		audit | test | test-all) needed="$needed
libelf-dev is for the tools of the build
libssl-dev likewise
clang-19 compiles the drivers to IR
llvm-19 puts that together, and optimises it
lld-19 is wanted by the build" ;;
		check-series) needed="$needed
libelf-dev is for the tools of the build
libssl-dev likewise
clang-19 compiles the kernel, too
gcc-aarch64-linux-gnu likewise
gcc-arm-linux-gnueabihf likewise
gcc-s390x-linux-gnu likewise
gcc-powerpc64-linux-gnu likewise
python3-ply is for checkpatch.pl
python3-git likewise
python3-sphinx shows the guide
python3-yaml is for the kernel'\''s documentation" ;;
	esac
done

# Only Debian 12 and 13 are known to have the sources that KVER chooses.
ID=unknown VERSION_ID='' PRETTY_NAME='an unknown system'
# shellcheck disable=SC1090
[ ! -r "${OS_RELEASE:=/etc/os-release}" ] || . "$OS_RELEASE"
# Debian 12 has these two in one package.
[ "$ID ${VERSION_ID%%.*}" != 'debian 12' ] ||
	needed=$(echo "$needed" | sed 's/^qemu-system-\(riscv\|s390x\) /qemu-system-misc /')
names()
{
	case $ID in
	fedora | rhel | centos) set -- 's/^libc6-dev$/glibc-static/
s/^xz-utils$/xz/
s/^libelf-dev$/elfutils-libelf-devel/
s/^libssl-dev$/openssl-devel/
s/^busybox-static$/busybox/
s/^libibverbs-dev$/rdma-core-devel/
s/^libnl-3-dev$/libnl3-devel/
/^libnl-route-3-dev$/d
s/^pkgconf$/pkgconf-pkg-config/
s/^\(clang\|llvm\|lld\)-.*/\1/' ;;
	*)	set -- '' ;;
	esac
	# shellcheck disable=SC2005,SC2046 # in one line
	echo $(echo "$needed" | cut -d' ' -f1 | sed "/^debian-archive-keyring$/d
$1")
}
check()
{
	[ -z "${CHECK:-}" ] || ! command -v "${CHECK%% *}" >/dev/null || $CHECK || exit
}

case "$ID ${VERSION_ID%%.*}" in
'debian 12' | 'debian 13') ;;
*)
	check
	case " $*" in
	*' test'*) kernel= ;;	# These take no KDIR.
	*)	kernel=", or KDIR=/path/to/linux with these packages, some of which may have another name (see Documentation/ci.rst): $(names)" ;;
	esac
	ways="this is $PRETTY_NAME and not Debian 12 or 13: use the container of .ci/Containerfile$kernel"
	[ -n "${KDIR:-}" ] || [ "$ID" = debian ] || die "$ways"
	if ! command -v dpkg-query >/dev/null; then
		for tool in $tools; do
			command -v "$tool" >/dev/null || die "$tool is missing; $ways"
		done
		exit 0
	fi
	[ -n "${KDIR:-}" ] || echo "packages.sh: $ways"
	needed=$(echo "$needed" | sed '/^debian-archive-keyring /d') ;;
esac

# With --show, a package that dpkg never heard of is an error: ignore it, the
# comparison below finds it missing.
# shellcheck disable=SC2046
installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' \
	$(echo "$needed" | cut -d' ' -f1) 2>/dev/null | sed -n 's/^installed //p')

missing=
reasons=
while read -r package reason; do
	case "
$installed
" in
	*"
$package
"*) ;;
	*)	missing="$missing $package"
		reasons="$reasons
    $package: $reason" ;;
	esac
done <<END
$needed
END
[ -n "$missing" ] || exit 0

check
install="apt-get install -y --no-install-recommends$missing"

if [ "$(id -u)" = 0 ]; then
	sudo=
elif command -v sudo >/dev/null; then
	sudo=sudo
else
	die "these packages are missing:$reasons
That needs root, and there is no sudo; run as root:
    apt-get update && $install"
fi

# A broken third-party source must not stop us: only the install counts.
echo "packages.sh: missing, and now installed as root, by $sudo${sudo:+ }apt-get:$reasons"
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q ||
	echo "packages.sh: apt-get update failed; trying with the lists that are there" >&2
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive $install ||
	die "apt could not install$missing (see above): is the network up, and are the sources in /etc/apt right? To try by hand, as root:
    apt-get update && $install"
