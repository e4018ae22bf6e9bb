#!/bin/bash
# image.sh DIR: make the kernel and the initial file system of the machine in which
# `make nic-test` runs ffwd: DIR/vmlinuz and DIR/initrd. The kernel is Debian's,
# downloaded and unpacked, not installed; init, beside this script, has the modules
# loaded and goes on in the files of the machine that it runs on. Does nothing when
# DIR has them already.
set -euo pipefail
out=$(realpath -m "$1") here=$(dirname "$(readlink -f "$0")")
modules="virtio_pci virtio_console 9pnet_virtio 9p tun 8021q virtio_net e1000e vfio_iommu_type1 vfio-pci uio_pci_generic"

package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" {print $2; exit}')
[ -n "$package" ] || { echo "apt knows no linux-image-amd64: run apt-get update" >&2; exit 1; }
made="$package $(cat "$0" "$here/init" | sha256sum)"
[ "$(cat "$out/made" 2>/dev/null)" != "$made" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get download -qq "$package" || { apt-get update -qq; apt-get download -qq "$package"; }
dpkg-deb -x ./*.deb kernel
release=$(basename kernel/lib/modules/*)
depmod -b kernel "$release"

mkdir -p root/bin root/modules
cp /bin/busybox root/bin/
cp "$here/init" root/init
# Numbered, so that each comes after those it needs.
modprobe -d kernel -S "$release" -D -a $modules | awk '$1 == "insmod" && !seen[$2]++ {print $2}' >list
[ "$(wc -l <list)" -ge 10 ] || { echo "the kernel has not all of: $modules" >&2; exit 1; }
number=100
while read -r file; do
  cp "$file" "root/modules/$((number++))-$(basename "$file")"
done <list

mkdir -p "$out"
(cd root && find . | cpio --quiet -o -H newc) >"$out/initrd"
cp "kernel/boot/vmlinuz-$release" "$out/vmlinuz"
echo "$made" >"$out/made"
