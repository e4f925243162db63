#!/bin/sh
# The nightly report: yesterday's calls into the lake, quiet-day profiles learned from it, a report from the lake, limits checked.
#
#   TRACEWRAP_SOURCE=calls TRACEWRAP_LAKE=lake TRACEWRAP_REPORTS=reports ./nightly.sh [DAY]
#
# TRACEWRAP_SOURCE: a folder of span logs, jaeger://host:port or clickhouse://host:port/db.table.
# DAY: such as 2026-11-22; default: the day that ended last. Exit code: 0 limits held, 1 a limit was breached (the report is written all the same), 2 error.
set -u

calls=${TRACEWRAP_SOURCE:-calls}
lake=${TRACEWRAP_LAKE:-lake}
reports=${TRACEWRAP_REPORTS:-reports}
limits=${TRACEWRAP_LIMITS:-$(dirname "$0")/limits.toml}
timezone=${TRACEWRAP_TIMEZONE:-UTC}
drift_days=${TRACEWRAP_DRIFT_DAYS:-14}
learn_days=${TRACEWRAP_LEARN_DAYS:-14}
day=${1:-$(TZ=$timezone date -d yesterday +%F 2>/dev/null || TZ=$timezone date -v-1d +%F)}
learn_since=$(date -d "$day - $learn_days days" +%F 2>/dev/null || date -v"-${learn_days}d" -jf %F "$day" +%F)
learn_until=$(date -d "$day + 1 day" +%F 2>/dev/null || date -v+1d -jf %F "$day" +%F)

fail() {
    echo "nightly: $1" >&2
    exit 2
}

command -v tracewrap >/dev/null 2>&1 || fail "tracewrap is not on PATH; pip install 'tracewrap[report]'"
# A server is asked for the day; span logs are read whole: what the lake has already is not added twice.
case $calls in
*://*) set -- --day "$day" --timezone "$timezone" ;;
*) set -- && { [ -d "$calls" ] || fail "$calls: no such folder of span logs; set TRACEWRAP_SOURCE"; } ;;
esac
[ -r "$limits" ] || fail "$limits: no such file of limits; set TRACEWRAP_LIMITS"
mkdir -p "$lake" "$reports" || fail "$lake, $reports: cannot be made"

# One run at a time; where flock is missing the lake's own lock still keeps two writers apart.
if command -v flock >/dev/null 2>&1; then
    exec 9>"$reports/.lock"
    flock -n 9 || fail "$reports: another run is at work"
fi

tracewrap lake compact "$calls" "$lake" "$@" || fail "its calls were not all added to $lake"
tracewrap denoise "$lake" --since "$learn_since" --until "$learn_until" --timezone "$timezone" -o "$lake.profiles/" \
    || echo "nightly: $lake: no quiet-day profile could be learned; what was learned before is used" >&2
set --
[ -d "$lake.profiles" ] && set -- --profiles "$lake.profiles"
tracewrap report "$lake" --day "$day" --timezone "$timezone" --drift-days "$drift_days" "$@" \
    --group-by provider model service route -o "$reports/$day.html" "$reports/$day.json" "$reports/$day.md" \
    || fail "$lake: no report of $day"
tracewrap check "$lake" --day "$day" --timezone "$timezone" --drift-days "$drift_days" "$@" --limits "$limits"
