#!/bin/sh
# Brings an off-site copy back onto the backup volume, under the backup's own name, once it is complete and checked; restore.sh
# then restores it like any other. retention.sh leaves it there for two days, even if it was there already. It replaces what is
# damaged under that name.
# Leaves by a status other than 0, with the reason as the last line, where it could not be brought.
#
#     FETCH      name of a backup, or `latest`; nothing: list the copies, one JSON object a line
#     NAME_ONLY  anything: with FETCH=latest, say which copy that is and bring nothing
#     BACKUPS    the backup volume (/backups)
#     and what offsite.sh needs
set -eu
umask 077
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"
# shellcheck source=components/scripts/offsite.sh
. "${0%/*}/offsite.sh"

place="no backup was fetched"
trap 'exit 143' TERM

exists=0
list_copies || exists=$?
[ "$exists" = 0 ] || fail "there is no repository at $RESTIC_REPOSITORY: check endpoint, bucket and prefix in the stack file"

unreadable=
[ "$unread" = 0 ] || unreadable="$unread of the copies cannot be read"
if [ -z "${FETCH:-}" ]; then
  cat "$snapshots"
  [ -z "$unreadable" ] || say "$unreadable, and not listed: $(why)"
  exit 0
fi

if [ "$FETCH" = latest ]; then
  # By time: where the volume was lost, the numbers started again. But what bears a time to come was dated by a clock that was
  # ahead: that is the newest only if no other copy has as great a number.
  name=$(sed 's/.*-\([0-9]*\)-\(.*\)/\1 \2 &/' "$copies" | sort -k 2,2 | awk -v now="$(date -u +%Y%m%dT%H%M%SZ)" '
    $2 <= now || $1 > greatest { name = $3 }
    $1 > greatest { greatest = $1 }
    END { print name }')
  [ -n "$name" ] || fail "there is no copy in $RESTIC_REPOSITORY"
  [ -z "$unreadable" ] || fail "$unreadable, and may be newer than the newest of the others, $name; to restore that, give its" \
    "name instead of latest: $(why)"
  [ -z "${NAME_ONLY:-}" ] || {
    say "NEWEST $name"
    exit 0
  }
else
  name=$FETCH
  grep -qxF -- "$name" "$copies" || fail "$name has no copy off-site${unreadable:+ ($unreadable)}; there are:
$(cat "$copies")"
fi

touch "$backups/.offsite-fetch-lock" || fail "no backup was fetched: $backups cannot be written to"
exec 7>"$backups/.offsite-fetch-lock"
lock 7 "another copy is being fetched: wait for its end"
if holds "$backups/$name" "$name"; then
  say "$name is on the volume already"
  touch "$backups/$name/fetched" || true
  say "FETCHED $name"
  exit 0
fi
[ ! -e "$backups/$name" ] || say "$name is damaged on the volume: its copy replaces it"
fetched=$backups/.fetched-$name
rm -rf "$backups"/.fetched-*
mkdir "$fetched" || fail "no backup was fetched: $backups cannot be written to"
trap 'explain $?; rm -rf "$fetched"' EXIT
say "fetching $name"
started=$(seconds)
id=$(sed -n "s/.*\"name=$name\".*\"id\":\"\([0-9a-f]*\)\".*/\1/p" "$snapshots" | tail -n 1)
# Nobody waits for a lock to get invoices back. A prune at this moment may move what is being read: then once more. restic
# compares each piece with its hash; what the dump's checksum would say besides, restore.sh and drill.sh ask before they
# replace anything.
bring() { offsite --no-lock restore "$id" --target "$fetched" >/dev/null; }
bring || bring || fail "$name could not be fetched: $(why)"
is_whole "$fetched" "$name" || fail "$name could not be fetched: its copy is not whole"
: >"$fetched/fetched"
sync "$fetched"/* "$fetched" || fail "$name could not be fetched: it could not be written to disk"
if [ -e "$backups/$name" ]; then
  holds "$fetched" "$name" || fail "$name could not be fetched: it is damaged on the volume, and so is its copy"
  remove_backup "$name" || true
fi
mv -T "$fetched" "$backups/$name" || fail "$name could not be fetched: it could not be given its name"
trap 'explain $?' EXIT
sync "$backups"
say "fetched $name in $(($(seconds) - started)) s"
say "FETCHED $name"
