# bash completion for lodge
_lodge()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		COMPREPLY=($(compgen -W "run check doctor --help --version" -- "$cur"))
		return
	fi
	case $prev in
	--kernel|--initrd|--firmware|--disk|--module) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); return ;;
	--engine) COMPREPLY=($(compgen -W "auto interp" -- "$cur")); return ;;
	--net) COMPREPLY=($(compgen -W "user none tap:" -- "$cur")); return ;;
	--console|--debugcon) COMPREPLY=($(compgen -W "stdio none file:" -- "$cur")); return ;;
	--append|--memory|-m|--cpus|-c|--publish|-p|--name|--trace) return ;;
	esac
	case ${COMP_WORDS[1]}:$cur in
	run:-*) COMPREPLY=($(compgen -W "--kernel --initrd --append --module --firmware --memory --cpus --engine
		--overcommit --disk --net --publish --console --debugcon --name --no-reboot --test-devices --trace
		--quiet --verbose --help" -- "$cur")) ;;
	run:*) compopt -o filenames; COMPREPLY=($(compgen -W "tiny debian" -f -- "$cur")) ;;
	check:*) compopt -o filenames; COMPREPLY=($(compgen -f -X '!*.y*ml' -- "$cur")) ;;
	doctor:-*) COMPREPLY=($(compgen -W "--json --help" -- "$cur")) ;;
	esac
}
complete -F _lodge lodge
