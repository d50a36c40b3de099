#!/bin/sh
# matrix.sh SECONDS CPUS ENGINE...: a guest at work is saved on every engine and restored on every
# engine.  It boots on the first; that state goes on on each of the others and is saved there in
# turn.  In this folder: K and I, Linux with tests/boot/work.c.  For each pair one answer:
#   @@ SAVED-RESTORED STATUS, its console, @@, its errors
set -u
seconds=$1 cpus=$2 first=$3
shift 2
export XDG_STATE_HOME=$PWD/state XDG_RUNTIME_DIR=$PWD/runtime
mkdir -p state runtime
chmod 700 runtime

say() { echo "matrix: $* ($(cut -d ' ' -f 1 /proc/uptime))"; }

# until FILE WORDS PID: waits for the words, or for the machine's end
until_said() {
	while ! grep -q "$2" "$1" 2> /dev/null; do
		kill -0 "$3" 2> /dev/null || return 1
		sleep 0.2
	done
}

answer() {
	echo "@@ $1 $2"
	tr -d '\r' < "$1.console"
	echo
	echo "@@"
	cat "$1.err"
}

# restore FROM TO: in the background, of a copy, as a machine that runs writes to its disks; a
# copied disk counts as changed
restore() {
	pair=$1-$2
	cp -r "saved.$1" "copy.$pair"
	lodge restore "copy.$pair" --changed-disks --name "$pair" --engine "$2" --console "file:$pair.console" \
		> /dev/null 2> "$pair.err" < /dev/null &
	pid=$!
}

# finish PAIR: what it did to its end
finish() {
	wait "$pid"
	answer "$pair" $?
	rm -rf "copy.$pair"
	say "$pair ended"
}

# While the second port is taken by nobody, the guest's work goes on, however long a save takes.
busybox nc -ll -p 7000 -e cat &
echo=$! ender=
trap 'kill $echo $ender' EXIT
may_end() {
	busybox nc -ll -p 7001 -e true &
	ender=$!
}
may_not_end() {
	kill "$ender"
	wait "$ender" 2> /dev/null
}

truncate -s 16M nvme.img virtio.img
pair=boot
lodge run --name boot --engine "$first" -c "$cpus" -m 128M --kernel K --initrd I --net user \
	--append "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on cryptomgr.notests seconds=$seconds" \
	--disk nvme.img,if=nvme --disk virtio.img --console file:boot.console \
	> /dev/null 2> boot.err < /dev/null &
pid=$!
until_said boot.console "work: ready" $pid || { answer boot 1; exit 1; }
say "ready on $first"
sleep 1
lodge save boot "saved.$first" --disks --json || { finish; exit 1; }
say "saved on $first"
may_end
finish
for engine; do
	[ "$engine" = "$first" ] || may_not_end
	restore "$first" "$engine"
	if [ "$engine" != "$first" ]; then
		until_said "$pair.console" "work: line" $pid &&
			lodge save "$pair" "saved.$engine" --disks --json
		say "saved on $engine"
		may_end
	fi
	finish
done
shift
for source; do
	for engine in $first "$@"; do
		[ -d "saved.$source" ] || continue
		restore "$source" "$engine"
		finish
	done
done
