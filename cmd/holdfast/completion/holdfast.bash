# Completion of holdfast for bash. Made by: holdfast completion bash
_holdfast() {
	local IFS=$'\n' answer line first=1 i
	COMPREPLY=()
	answer=$("${COMP_WORDS[0]/#\~/$HOME}" __complete bash -- "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null) || return
	for line in $answer; do
		if [[ $first ]]; then
			first=
			[[ $line == :words ]] || break
		else
			COMPREPLY+=("${line%%$'\t'*}")
		fi
	done
	[[ $line == ":command "* ]] || return 0
	# The rest of the line is another program's.
	if declare -F _command_offset >/dev/null; then
		for ((i = 1; i < COMP_CWORD; i++)); do
			if [[ ${COMP_WORDS[i]} == -- ]]; then
				IFS=$' \t\n'
				_command_offset $((i + 1))
				return
			fi
		done
	fi
	compopt -o filenames 2>/dev/null
	if [[ ${COMP_WORDS[COMP_CWORD - 1]} == -- ]]; then
		COMPREPLY=($(compgen -c -- "${COMP_WORDS[COMP_CWORD]}"))
	else
		COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
	fi
}
complete -F _holdfast holdfast
