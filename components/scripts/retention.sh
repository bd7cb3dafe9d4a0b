#!/bin/sh
# Which backups to keep. Called by backup.sh and restore.sh after a success, under their locks.
#
#     retention.sh prune KIND          removes what need not be kept
#     retention.sh plan KIND <names    prints those of the names (newest first) that need not be kept
#
# All of the last two days that have a backup are kept: one that was taken right before a migration beside the nightly one,
# and one that a drill restores at this moment. Before that, of the backups of one day, one week (from Monday) or one month,
# the newest counts; kept are those of the last KEEP_DAILY days, KEEP_WEEKLY weeks and KEEP_MONTHLY months that have one.
# "Last" is by number, not by the clock: backups dated by a wrong clock take up places, but never push out what was taken
# after them. Of the dumps that restore.sh takes before it overwrites (before-restore), the last KEEP_BEFORE_RESTORE are kept; of
# those of a database that was recovered to a moment (recovered), the last.
set -eu
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"

plan() {
  awk -v kind="$1" -v daily="${KEEP_DAILY:-7}" -v weekly="${KEEP_WEEKLY:-0}" -v monthly="${KEEP_MONTHLY:-0}" \
    -v before_restore="${KEEP_BEFORE_RESTORE:-3}" '
    # Days since 1 March of the year 0: years that begin in March put the leap day last.
    function day_number(year, month, day) {
      if (month < 3) { year--; month += 12 }
      return 365 * year + int(year / 4) - int(year / 100) + int(year / 400) + int((153 * (month - 3) + 2) / 5) + day - 1
    }
    function wanted(period, bucket, limit) {
      if ((period, bucket) in seen || count[period] >= limit) return 0
      seen[period, bucket]
      count[period]++
      return 1
    }
    {
      date = $0
      sub(/.*-/, "", date)
      # 1 March of the year 0 was a Wednesday: two days after a Monday.
      week = int((day_number(substr(date, 1, 4) + 0, substr(date, 5, 2) + 0, substr(date, 7, 2) + 0) + 2) / 7)
      if (kind == "before-restore") keep = NR <= before_restore
      else if (kind == "recovered") keep = NR <= 1
      else {
        day = substr(date, 1, 8)
        if (!(day in rank)) rank[day] = ++days
        keep = rank[day] <= 2
        keep += wanted("day", day, daily)
        keep += wanted("week", week, weekly)
        keep += wanted("month", substr(date, 1, 6), monthly)
      }
      if (!keep && NR > 1) print
    }'
}

prune() {
  list_backups "$1" | plan "$1" | while read -r name; do
    # fetch.sh has brought it back from off-site, for a restore.
    if [ -n "$(find "$backups/$name/fetched" -mtime -2 2>/dev/null)" ]; then continue; fi
    rm -f "$backups/$name/fetched"
    if [ "$(find "$backups/$name" -mindepth 1 | wc -l)" -ne 2 ]; then
      say "keeping $name: it holds something that backup.sh did not write"
      continue
    fi
    remove_backup "$name"
    say "pruned $name"
  done
}

case ${1:-} in
plan) plan "$2" ;;
prune) prune "$2" ;;
*) fail "usage: retention.sh prune KIND | plan KIND" ;;
esac
