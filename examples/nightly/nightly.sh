#!/bin/sh
# The nightly report: yesterday's span logs into the lake, a report from the lake, limits checked.
#
#   TRACEWRAP_LOGS=calls TRACEWRAP_LAKE=lake TRACEWRAP_REPORTS=reports ./nightly.sh [DAY]
#
# DAY: such as 2026-11-22; default: the day that ended last. Exit code: 0 limits held, 1 a limit was breached (the report is written all the same), 2 error.
set -u

logs=${TRACEWRAP_LOGS:-calls}
lake=${TRACEWRAP_LAKE:-lake}
reports=${TRACEWRAP_REPORTS:-reports}
limits=${TRACEWRAP_LIMITS:-$(dirname "$0")/limits.toml}
timezone=${TRACEWRAP_TIMEZONE:-UTC}
drift_days=${TRACEWRAP_DRIFT_DAYS:-14}
day=${1:-$(TZ=$timezone date -d yesterday +%F 2>/dev/null || TZ=$timezone date -v-1d +%F)}

fail() {
    echo "nightly: $1" >&2
    exit 2
}

command -v tracewrap >/dev/null 2>&1 || fail "tracewrap is not on PATH; pip install 'tracewrap[report]'"
[ -d "$logs" ] || fail "$logs: no such folder of span logs; set TRACEWRAP_LOGS"
[ -r "$limits" ] || fail "$limits: no such file of limits; set TRACEWRAP_LIMITS"
mkdir -p "$lake" "$reports" || fail "$lake, $reports: cannot be made"

# One run at a time; where flock is missing the lake's own lock still keeps two writers apart.
if command -v flock >/dev/null 2>&1; then
    exec 9>"$reports/.lock"
    flock -n 9 || fail "$reports: another run is at work"
fi

tracewrap lake compact "$logs" "$lake" || fail "$logs: was not added to $lake"
tracewrap report "$lake" --day "$day" --timezone "$timezone" --drift-days "$drift_days" \
    --group-by provider model service route -o "$reports/$day.html" "$reports/$day.json" "$reports/$day.md" \
    || fail "$lake: no report of $day"
tracewrap check "$lake" --day "$day" --timezone "$timezone" --drift-days "$drift_days" --limits "$limits"
