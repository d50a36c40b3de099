#!/bin/sh
# tools.sh OUT: OUT/tools.ext4, a disk with gcc and stress-ng and all that the two need, for the image
# tiny to go into.  mmdebstrap downloads Debian's packages (63 MB) and unpacks them; nothing is
# installed, so it needs no root and takes twenty seconds.
set -eu
: "${LODGE_CACHE:?}" "${LODGE_IMAGES:?}"
. "$LODGE_IMAGES/fetch.sh"

out=$1 work="$LODGE_CACHE/tools.$$" PATH=$PATH:/usr/sbin:/sbin
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$out" "$work/root"

say "  unpacking gcc and stress-ng"
mmdebstrap --variant=extract --mode=chrootless --format=tar --quiet --include=gcc,libc6-dev,stress-ng \
	bookworm "$work/root.tar" $(mirror) >&2 || die "mmdebstrap could not get the packages (its reason is above)"
fakeroot sh -eu -c '
	tar -C "$1/root" -xf "$1/root.tar" --exclude="./dev/*" --exclude="./usr/share/doc/*" \
		--exclude="./usr/share/man/*" --exclude="./usr/share/locale/*"
	mkdir -p "$1/root/dev" "$1/root/proc" "$1/root/sys" "$1/root/tmp" "$1/root/mnt"
	truncate -s 1G "$1/tools.ext4"
	mke2fs -q -t ext4 -d "$1/root" "$1/tools.ext4"
' sh "$work" || die "cannot make the disk: is there room in $work?"
mv "$work/tools.ext4" "$out/"
