#!/bin/sh
# add.sh DIR KIND: read the number, add one, write it; tell the journal. Runs under the lock.
set -eu
n=$(cat "$1/counter")
echo $((n + 1)) >"$1/counter"
echo "$2 $LOCK_TOKEN $((n + 1))" >>"$1/journal"
