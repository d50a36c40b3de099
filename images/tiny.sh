#!/bin/sh
# tiny.sh OUT: the image `tiny`: Debian's stock cloud kernel (OUT/vmlinuz) and an
# initramfs of busybox (OUT/initrd) that ends in a root shell with the network up.
# Both come from Debian packages, downloaded and unpacked, not installed.
set -eu
: "${LODGE_CACHE:?}" "${LODGE_IMAGES:?}"
. "$LODGE_IMAGES/fetch.sh"

out=$1 work="$LODGE_CACHE/tiny.$$"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$out" "$work/root"

pkg=$(kernel_package)
[ -n "$pkg" ] || die "no package linux-image-cloud-amd64 found: is this Debian on amd64?"
unpack "$pkg" "$work/kernel"
unpack busybox-static "$work/busybox"

say "  packing the initramfs"
root="$work/root"
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/etc" "$root/root" \
	"$root/lib/modules" "$root/usr/share/udhcpc"
cp "$work/busybox/bin/busybox" "$root/bin/busybox"
cp "$LODGE_IMAGES/tiny.init" "$root/init"
cp "$LODGE_IMAGES/tiny.udhcpc" "$root/usr/share/udhcpc/default.script"
chmod 755 "$root/init" "$root/usr/share/udhcpc/default.script"
tree=$(echo "$work"/kernel/lib/modules/*)
module_order "$tree" virtio_pci virtio_net virtio_blk virtio_console virtio_rng |
	awk '!seen[$0]++' | while read -r m; do
		cp "$tree/$m" "$root/lib/modules/"
		basename "$m" >> "$root/lib/modules/order"
	done
(cd "$root" && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null) | gzip -1 > "$work/initrd"
cp "$work"/kernel/boot/vmlinuz-* "$work/vmlinuz"
mv "$work/vmlinuz" "$out/vmlinuz"
mv "$work/initrd" "$out/initrd"
