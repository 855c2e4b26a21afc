#compdef holdfast
# Completion of holdfast for zsh. Made by: holdfast completion zsh
_holdfast() {
	local -a answer texts
	local line
	integer at
	answer=("${(@f)$(${~${(Q)words[1]}} __complete zsh -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ $answer[1] == ':command '* ]]; then
		# The rest of the line is another program's.
		at=$(( ${answer[1]#:command } + 2 ))
		words=("${(@)words[at,-1]}")
		(( CURRENT -= at - 1 ))
		_normal
		return
	fi
	for line in "${(@)answer[2,-1]}"; do
		texts+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
	done
	(( $#texts )) && _describe holdfast texts
}
if [[ $funcstack[1] == _holdfast ]]; then
	_holdfast "$@"
else
	compdef _holdfast holdfast
fi
