#!/bin/sh
# curl.sh URL NAME TTL COMMAND ARGS...: `holdfast lock` by hand, over lockd's HTTP API.
# Exit codes as there: 75 not acquired, 76 lost; 77 the release was not confirmed.
set -u
url=$1 name=$2 ttl=$3
shift 3

# Body, newline, status.
answer=$(curl -sS -w '\n%{http_code}' -X POST -H 'Content-Type: application/json' \
	-d "{\"ttl\": \"$ttl\", \"wait\": \"60s\", \"owner\": \"curl\"}" "$url/v1/locks/$name") || exit 70
status=${answer##*
}
case $status in
200) ;;
409 | 503) echo "$answer"; exit 75 ;;
*) echo "$answer"; exit 70 ;;
esac

field() { printf '%s\n' "$answer" | sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p"; }
LOCK_TOKEN=$(field token)
lease=$(field lease)
export LOCK_TOKEN
"$@"
code=$?

answer=$(curl -sS -w '\n%{http_code}' -X DELETE "$url/v1/leases/$lease") || exit 70
case ${answer##*
} in
200 | 204) exit $code ;;
503) echo "$answer"; exit 77 ;;
*) echo "$answer"; exit 76 ;;
esac
