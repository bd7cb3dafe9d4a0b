#!/bin/sh
# Which backups to keep. Called by backup.sh after a success, under its lock.
#
#     retention.sh prune               removes what need not be kept
#     retention.sh plan KIND <names    prints those of the names (newest first) that need not be kept
#
# Of the backups of one day, one week (from Monday) or one month, the newest counts; kept are those of the last KEEP_DAILY
# days, KEEP_WEEKLY weeks and KEEP_MONTHLY months that have one, and always the newest. "Last" is by number, not by the
# clock: backups dated by a wrong clock take up places, but never push out what was taken after them. Of the dumps that
# restore.sh takes before it overwrites (before-restore), the last KEEP_BEFORE_RESTORE are kept.
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
      else {
        keep = wanted("day", substr(date, 1, 8), daily)
        keep += wanted("week", week, weekly)
        keep += wanted("month", substr(date, 1, 6), monthly)
      }
      if (!keep && NR > 1) print
    }'
}

prune() {
  for kind in invoicetron before-restore; do
    list_backups "$kind" | plan "$kind" | while read -r name; do
      # restore.sh saves the old data first, which prunes: never the very backup that it is about to restore.
      [ "$name" != "${RESTORE_FROM:-}" ] || continue
      if [ "$(find "$backups/$name" -mindepth 1 | wc -l)" -ne 2 ]; then
        say "keeping $name: it holds something that backup.sh did not write"
        continue
      fi
      # Renamed first, so that a half-removed backup does not bear a backup's name.
      mv -T "$backups/$name" "$backups/.pruned-$name"
      rm -rf "$backups/.pruned-$name"
      say "pruned $name"
    done
  done
}

case ${1:-} in
plan) plan "$2" ;;
prune) prune ;;
*) fail "usage: retention.sh prune | plan KIND" ;;
esac
