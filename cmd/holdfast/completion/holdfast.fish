# Completion of holdfast for fish. Made by: holdfast completion fish
function __holdfast_complete
	set -l before (commandline -opc)
	set -l current (commandline -ct)
	set -l answer ($before[1] __complete fish -- $before[2..-1] "$current" 2>/dev/null)
	if string match -q ':command *' -- $answer[1]
		# The rest of the line is another program's.
		set -l at (math (string replace ':command ' '' -- $answer[1]) + 2)
		set -l rest
		if test $at -le (count $before)
			set rest (string escape -- $before[$at..-1])
		end
		complete -C (string join ' ' -- $rest "$current")
	else if test (count $answer) -gt 1
		printf '%s\n' $answer[2..-1]
	end
end
complete -c holdfast -f -a '(__holdfast_complete)'
