#!/bin/sh
# The job: whoever gets the lock writes the report. LOCK_NAME, LOCK_TOKEN and LOCK_DEADLINE come from
# `holdfast lock`; a store that can compare tokens is given LOCK_TOKEN.
set -eu
out=${1:?usage: report.sh FILE}
echo "report by holder of $LOCK_NAME, token $LOCK_TOKEN" >> "$out"
