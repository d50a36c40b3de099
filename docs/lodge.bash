# bash completion for lodge
_lodge_running()
{
	lodge ls 2> /dev/null | awk 'NR > 1 {print $1}'
}
_lodge()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		COMPREPLY=($(compgen -W "run ls console pause resume save restore stop rm check doctor metal --help --version" -- "$cur"))
		return
	fi
	case $prev in
	--kernel|--initrd|--firmware|--disk|--module) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); return ;;
	--engine) COMPREPLY=($(compgen -W "auto kvm interp bt" -- "$cur")); return ;;
	--sandbox) COMPREPLY=($(compgen -W "auto on off" -- "$cur")); return ;;
	--net) COMPREPLY=($(compgen -W "user none tap: switch" -- "$cur")); return ;;
	--on) COMPREPLY=($(compgen -W "qemu bochs" -- "$cur")); return ;;
	--line) COMPREPLY=($(compgen -W "stay check" -- "$cur")); return ;;
	--console|--debugcon) COMPREPLY=($(compgen -W "stdio none file:" -- "$cur")); return ;;
	--append|--memory|-m|--cpus|-c|--publish|-p|--name|--trace|--timeout|--keep) return ;;
	esac
	case ${COMP_WORDS[1]}:$cur in
	run:-*) COMPREPLY=($(compgen -W "--kernel --initrd --append --module --firmware --memory --cpus --engine --cpu --tsc-khz --hugepages --pin --sandbox
		--overcommit --disk --net --publish --console --debugcon --name --no-reboot --test-devices --shadow --trace
		--quiet --verbose --help" -- "$cur")) ;;
	run:*) compopt -o filenames; COMPREPLY=($(compgen -W "tiny debian" -f -- "$cur")) ;;
	metal:-*) case ${COMP_WORDS[2]} in
		pack) COMPREPLY=($(compgen -W "--output --restore --help" -- "$cur")) ;;
		iso) COMPREPLY=($(compgen -W "--output --line --restore --help" -- "$cur")) ;;
		run) COMPREPLY=($(compgen -W "--on --uefi --disk --uplink --memory --cpus --line --restore --save --help" -- "$cur")) ;;
		unpack) COMPREPLY=($(compgen -W "--from --output --restore --help" -- "$cur")) ;;
		esac ;;
	metal:*) if [ "$COMP_CWORD" = 2 ]; then COMPREPLY=($(compgen -W "pack iso run unpack" -- "$cur"))
		else compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); fi ;;
	check:*) compopt -o filenames; COMPREPLY=($(compgen -f -X '!*.y*ml' -- "$cur")) ;;
	ls:-*) COMPREPLY=($(compgen -W "--json --help" -- "$cur")) ;;
	save:-*) COMPREPLY=($(compgen -W "--disks --stop --keep --json --help" -- "$cur")) ;;
	stop:-*) COMPREPLY=($(compgen -W "--timeout --force --help" -- "$cur")) ;;
	restore:-*) COMPREPLY=($(compgen -W "--engine --pin --sandbox --publish --console --debugcon --name --no-reboot --paused
		--changed-disks --trace --quiet --verbose --help" -- "$cur")) ;;
	restore:*) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")) ;;
	save:*) if [ "$COMP_CWORD" = 3 ]; then compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur"))
		else COMPREPLY=($(compgen -W "$(_lodge_running)" -- "$cur")); fi ;;
	console:*|pause:*|resume:*|stop:*|rm:*) COMPREPLY=($(compgen -W "$(_lodge_running)" -- "$cur")) ;;
	doctor:-*) COMPREPLY=($(compgen -W "--json --help" -- "$cur")) ;;
	esac
}
complete -F _lodge lodge
