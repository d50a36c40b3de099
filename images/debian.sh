#!/bin/sh
# debian.sh OUT: the image `debian`: Debian 12 with systemd on an ext4 disk
# (OUT/disk.ext4, sparse) and its kernel (OUT/vmlinuz, OUT/initrd as installed).
# mmdebstrap makes the root, mke2fs -d the file system: no loop mount, no root.
set -eu
: "${LODGE_CACHE:?}" "${LODGE_IMAGES:?}"
. "$LODGE_IMAGES/fetch.sh"

out=$1 work="$LODGE_CACHE/debian.$$" size=${LODGE_DISK_SIZE:-4G}
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$out" "$work"
for tool in mmdebstrap mke2fs fakeroot; do
	PATH=$PATH:/usr/sbin:/sbin command -v $tool > /dev/null ||
		die "$tool is missing; install it with: apt-get install mmdebstrap e2fsprogs fakeroot uidmap"
done
PATH=$PATH:/usr/sbin:/sbin

# mmdebstrap can fall back to other modes; as a plain user it wants newuidmap
mode=auto
[ "$(id -u)" = 0 ] && mode=root

say "  building Debian 12 from its packages: about two minutes, once"
mmdebstrap --mode=$mode --variant=minbase --format=tar --quiet \
	--include=systemd-sysv,udev,dbus,iproute2,iputils-ping,curl,ca-certificates,kmod,less,procps,linux-image-cloud-amd64,initramfs-tools,zstd,e2fsprogs,nano \
	--aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	--customize-hook="upload $LODGE_IMAGES/debian.setup /root/setup" \
	--customize-hook='chroot "$1" sh /root/setup && rm "$1/root/setup"' \
	bookworm "$work/root.tar" $(mirror) >&2 ||
	die "mmdebstrap could not build Debian (its reason is above)"

say "  making the disk"
fakeroot sh -eu -c '
	mkdir "$1/root"
	tar -C "$1/root" --numeric-owner -xf "$1/root.tar"
	rm "$1/root.tar"
	cp -L "$1/root/vmlinuz" "$1/vmlinuz"
	cp -L "$1/root/initrd.img" "$1/initrd"
	truncate -s "$2" "$1/disk.ext4"
	mke2fs -q -t ext4 -L lodge-root -d "$1/root" "$1/disk.ext4"
' sh "$work" "$size" || die "cannot make the disk: is there room in $work?"
for f in vmlinuz initrd disk.ext4; do mv "$work/$f" "$out/$f"; done
