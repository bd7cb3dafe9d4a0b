#!/bin/sh
# Copies the backups that have no off-site copy yet into the restic repository, and once a day forgets those that need not
# be kept. The backups on the volume are only read: whatever fails here, they stay as they are, and the next run catches up.
# Leaves by a status other than 0, with the reason as the last line, where a backup has no copy afterwards.
#
#     BACKUPS                                the backup volume (/backups)
#     PGDATABASE                             the database, which is the first part of its backups' names
#     KEEP_DAILY KEEP_WEEKLY KEEP_MONTHLY    how many copies are kept, beside all of the newest two days
#     KEEP_WITHIN                            how long every copy is kept (2d)
#     UPLOAD_SECONDS                         seconds that the upload of one backup may take (18000), before the Job's own end
#     FORGET_SECONDS                         seconds that forgetting may take, and pruning (7200)
#     RESULT                                 file that says which backup is the newest that has a copy
#     and what offsite.sh needs
set -eu
umask 077
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"
# shellcheck source=components/scripts/offsite.sh
. "${0%/*}/offsite.sh"

place="the backups on the volume are untouched"
# The first process of a container gets no signal that it has no trap for.
trap 'exit 143' TERM

alone
exists=0
list_copies || exists=$?
if [ "$exists" = 10 ]; then
  say "making the repository $RESTIC_REPOSITORY"
  offsite init >/dev/null || {
    # Between its key and its config, restic was killed; or somebody has removed the config.
    case $(why) in
    *'already contains'*)
      fail "$RESTIC_REPOSITORY has keys and no config: where it has no folder snapshots, an upload was cut off as it" \
        "made the repository: delete that folder in the bucket; else bring the object config back"
      ;;
    esac
    fail "the repository $RESTIC_REPOSITORY cannot be made: $(why)"
  }
fi

# Those newer than the newest that has a copy: what was forgotten there does not come back. By number, which only grows.
missing=
for name in $(list_backups "$PGDATABASE"); do
  if grep -qxF "$name" "$copies"; then break; fi
  missing="$name $missing"
done

# A tag ends at a comma.
tag() { printf '%s=%s' "$1" "$2" | tr ', ' '__'; }

export TZ=UTC # in which restic reads --time
limit=${UPLOAD_SECONDS:-18000}
for name in $missing; do
  manifest=$backups/$name/manifest.json
  has_checksum "$backups/$name/database.dump" "$(manifest_value "$manifest" dumpSha256)" ||
    fail "$name is damaged on the volume, and is not uploaded: its checksum is not the manifest's"
  migration=$(sed -n 's/^  "inventory": .*"lastMigration": "\([^"]*\)".*/\1/p' "$manifest")
  database=$(about "$manifest" databaseBytes)
  taken=$(manifest_value "$manifest" takenAt | tr 'TZ' '  ')
  say "uploading $name"
  started=$(date +%s)
  cd "$backups/$name"
  locking backup --host "$STACK" --time "${taken% }" --tag "name=$name" \
    --tag "$(tag rows "$(rows_of "$manifest")")" --tag "$(tag bytes "$(manifest_value "$manifest" dumpBytes)")" \
    --tag "$(tag database "$database")" --tag "$(tag migration "$migration")" \
    --tag "$(tag image "$(manifest_value "$manifest" image)")" --tag "$(tag by "$(manifest_value "$manifest" takenBy)")" \
    database.dump manifest.json >/dev/null || fail "$name was not uploaded: $(why)"
  say "uploaded $name in $(($(date +%s) - started)) s"
done
[ -n "$missing" ] || say "every backup has its copy"

# forget_old: forgets by the time of the backups, and then prunes. Not by `forget --prune`, which also takes the data of copies
# that the bucket has not let go, because a lock of its own protects them: those would be listed, and not restore.
held=
policy="--keep-within ${KEEP_WITHIN:-2d} --keep-daily ${KEEP_DAILY:-7} --keep-weekly ${KEEP_WEEKLY:-5}"
policy="$policy --keep-monthly ${KEEP_MONTHLY:-12}"
forget_old() {
  # shellcheck disable=SC2086
  locking forget --host "$STACK" --group-by host $policy --json >"$work/forgotten" || return
  note_held
  grep -q '"remove":\[{' "$work/forgotten" || return 0
  locking prune >/dev/null || return
  note_held
}
note_held() { ! grep -q '^unable to remove ' "$errors" || held=yes; }

# Once a day: with a backup an hour, each upload would forget one copy, and prune, which reads the whole index and writes packs
# again. What has been done, for which day and by which rules, is noted on the volume.
noted=$backups/.offsite-forgotten
today="$(date -u +%F) $RESTIC_REPOSITORY $policy"
if [ "$(cat "$noted" 2>/dev/null)" != "$today" ]; then
  forgotten=0
  limit=${FORGET_SECONDS:-7200}
  forget_old || forgotten=$?
  case $forgotten in
  0) ;;
  11) say "somebody else uses the repository: old copies are forgotten by the next upload" ;;
  124 | 143) held=yes ;; # restic tries again for a quarter of an hour what it does not take for a refusal
  *) fail "the copies are good, but old ones could not be forgotten: $(why)" ;;
  esac
  if [ -n "$held" ]; then
    say "the bucket does not let old copies go yet: a later upload forgets them"
  elif [ "$forgotten" = 0 ]; then
    # Nobody else had a lock, so of those who ran before none is left.
    { printf '' >"$hosts" && printf '%s\n' "$today" >"$noted"; } || say "not noted: the next upload forgets once more"
  fi
fi

result "{\"newestCopy\": \"$(list_backups "$PGDATABASE" | head -n 1)\"}"
