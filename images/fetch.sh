# fetch.sh: Debian packages, downloaded and unpacked, never installed; no root.
# Sourced by the image scripts.  $LODGE_CACHE is the folder to work in.

say() { printf '%s\n' "$*" >&2; }
die() { say "lodge: $*"; exit 1; }

# apt's own lists where the machine has them, else private ones below the cache
apt_opts() {
	[ -n "${APT_READY-}" ] && return
	APT_READY=1 APT_OPTS=
	apt-cache show "$1" >/dev/null 2>&1 && return
	local dir="$LODGE_CACHE/apt"
	mkdir -p "$dir/lists/partial" "$dir/archives/partial"
	APT_OPTS="-o Dir::State=$dir -o Dir::State::lists=$dir/lists -o Dir::Cache=$dir
		-o Dir::Cache::archives=$dir/archives -o Dir::State::status=/var/lib/dpkg/status"
	say "  reading Debian's package lists"
	apt-get $APT_OPTS -qq update >&2 ||
		die "cannot read Debian's package lists: is there a network, and are /etc/apt/sources.list* right?"
}

# unpack PACKAGE DIR: download one package and unpack it into DIR
unpack() {
	local tmp="$LODGE_CACHE/download.$$"
	apt_opts "$1"
	mkdir -p "$tmp" "$2"
	say "  downloading $1"
	(cd "$tmp" && apt-get $APT_OPTS -qq -o APT::Sandbox::User=root download "$1" >&2) ||
		{ rm -rf "$tmp"; die "cannot download the Debian package $1: is there a network? (try: apt-get download $1)"; }
	dpkg-deb -x "$tmp"/*.deb "$2" || { rm -rf "$tmp"; die "cannot unpack $1: is the disk full?"; }
	rm -rf "$tmp"
}

# The package that linux-image-cloud-amd64 stands for today.
kernel_package() {
	apt_opts linux-image-cloud-amd64
	apt-cache $APT_OPTS depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1
}

# Modules of kernel tree $1 (…/lib/modules/VERSION) named in $2…, and what they
# depend on, in loading order, as paths below that tree.
module_order() {
	local tree="$1" name file dep
	shift
	for name; do
		file=$(cd "$tree" && find kernel -name "$(echo "$name" | sed s/_/[-_]/g).ko*" | head -n 1)
		[ -n "$file" ] || continue
		for dep in $(modinfo_depends "$tree/$file"); do
			module_order "$tree" "$dep"
		done
		echo "$file"
	done
}

# The depends= string of a module's .modinfo section, commas to spaces.
modinfo_depends() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.zst) zstd -dc "$1" ;;
	*) cat "$1" ;;
	esac | tr '\0' '\n' | sed -n 's/^depends=//p' | tr ',-' ' _' | head -n 1
}

# A mirror that this machine already uses for bookworm, for mmdebstrap: the first
# deb line's address; empty lets mmdebstrap take Debian's own.
mirror() {
	{
		sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) bookworm .*/\2/p' /etc/apt/sources.list \
			/etc/apt/sources.list.d/*.list 2>/dev/null
		awk '/^URIs:/ {u = $2} /^Suites:.*bookworm( |$)/ {print u}' \
			/etc/apt/sources.list.d/*.sources 2>/dev/null
	} | grep -v security | head -n 1
}
