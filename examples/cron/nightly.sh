#!/bin/sh
# What cron runs, on every machine, at the same minute:
#
#     0 3 * * *  /srv/jobs/nightly.sh /srv/reports/today
#
# One machine gets the lock and does the work. The others find it held, say so and leave at once: `holdfast
# lock` then returns 75 (EX_TEMPFAIL), which is no failure here. Any other code is the job's own.
set -u
here=$(dirname "$0")
holdfast lock --try --ttl 30s jobs/nightly-report -- "$here/report.sh" "$@"
code=$?
[ "$code" -eq 75 ] && exit 0
exit "$code"
