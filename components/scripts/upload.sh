#!/bin/sh
# Copies the backups that have no off-site copy yet into the restic repository, and once a day forgets those that need not
# be kept. Whatever fails here, the backups on the volume stay as they are, and the next run catches up. Only one that is damaged
# is set aside, as .damaged-<name>, so that nobody takes it for the newest: it stands in no other's way, and the run fails at
# its end. It may have been unreadable for a moment, so that each run looks again, for a week.
# Leaves by a status other than 0, with the reason as the last line, where a backup has no copy afterwards, or where copies are gone
# that no upload has forgotten.
#
#     BACKUPS                                the backup volume (/backups)
#     PGDATABASE                             the database, which is the first part of its backups' names
#     KEEP_DAILY KEEP_WEEKLY KEEP_MONTHLY    how many copies are kept, beside all of the newest two days
#     KEEP_WITHIN                            how long every copy is kept (2d)
#     UPLOAD_SECONDS                         seconds that the upload of one backup may take (18000), before the Job's own end
#     FORGET_SECONDS                         seconds that forgetting may take, and pruning (7200)
#     CRON_JOB                               the CronJob that runs this, for a command that a failure names
#     NEW_REPOSITORY                         true: copies that the repository had may be gone
#     RESULT                                 file that says which backup is the newest that has a copy
#     and what offsite.sh needs
set -eu
umask 077
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"
# shellcheck source=components/scripts/offsite.sh
. "${0%/*}/offsite.sh"

place="the backups on the volume are as they were"
# The first process of a container gets no signal that it has no trap for.
trap 'exit 143' TERM

policy="--keep-within ${KEEP_WITHIN:-2d} --keep-daily ${KEEP_DAILY:-7} --keep-weekly ${KEEP_WEEKLY:-5}"
policy="$policy --keep-monthly ${KEEP_MONTHLY:-12}"

# What the volume knows of the repository: that it has copies, on which day old ones were last forgotten, and by which rules.
noted=$backups/.offsite-forgotten
note() {
  { printf '%s\n' "$1 $RESTIC_REPOSITORY $policy" >"$noted.new" && mv -T "$noted.new" "$noted"; } ||
    say "$noted cannot be written: the next upload writes it"
}
is_noted() { grep -qF -- " $RESTIC_REPOSITORY " "$noted" 2>/dev/null; }

# And which copies there were at the end of the last upload; nothing where that is not certain.
had=$backups/.offsite-copies
note_copies() { { cat >"$had.new" && mv -T "$had.new" "$had"; } || say "$had cannot be written: the next upload writes it"; }

alone
exists=0
list_copies || exists=$?
again="bring back what was removed from the bucket; or, if the copies may be gone,"
again="$again run: kubectl -n $STACK create job new-repository --from=cronjob/${CRON_JOB:-} --dry-run=client -o yaml |"
again="$again kubectl set env --local -f - NEW_REPOSITORY=true -o yaml | kubectl -n $STACK create -f -"
if ! is_noted || [ "${NEW_REPOSITORY:-}" = true ]; then rm -f "$had"; fi
if [ -s "$copies" ]; then
  is_noted || note never
elif is_noted && [ "${NEW_REPOSITORY:-}" != true ]; then
  fail "there were copies in $RESTIC_REPOSITORY, and now there are none: $again"
fi
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
find "$backups" -maxdepth 1 -name '.damaged-*' -mtime +6 -exec rm -rf {} + || true
for aside in "$backups"/.damaged-*; do
  name=${aside##*/.damaged-}
  [ ! -d "$aside" ] || [ -e "$backups/$name" ] || grep -qxF -- "$name" "$copies" || missing="$missing $name"
done

# set_aside NAME: unless it has been pruned by now. Its week begins.
set_aside() {
  rm -rf "$backups/.damaged-$1"
  touch -c "$backups/$1"
  mv -T "$backups/$1" "$backups/.damaged-$1" || [ ! -e "$backups/$1" ] || fail "$1 is damaged, and cannot be set aside"
}

# A tag ends at a comma.
tag() { printf '%s=%s' "$1" "$2" | tr ', ' '__'; }

export TZ=UTC # in which restic reads --time
limit=${UPLOAD_SECONDS:-18000}
damaged=
for name in $missing; do
  backup=$backups/$name aside=$backups/.damaged-$name
  [ -e "$backup" ] || backup=$aside
  if ! holds "$backup" "$name"; then
    [ "$backup" = "$aside" ] || set_aside "$name"
    [ ! -e "$aside" ] || damaged="$damaged $name"
    continue
  fi
  manifest=$backup/manifest.json
  migration=$(sed -n 's/^  "inventory": .*"lastMigration": "\([^"]*\)".*/\1/p' "$manifest")
  database=$(about "$manifest" databaseBytes)
  taken=$(manifest_value "$manifest" takenAt | tr 'TZ' '  ')
  say "uploading $name"
  started=$(seconds)
  cd "$backup"
  # By force, or it would look for an earlier copy of the same folder, and fail where any copy cannot be read.
  locking backup --force --host "$STACK" --time "${taken% }" --tag "name=$name" \
    --tag "$(tag rows "$(rows_of "$manifest")")" --tag "$(tag bytes "$(manifest_value "$manifest" dumpBytes)")" \
    --tag "$(tag database "$database")" --tag "$(tag migration "$migration")" \
    --tag "$(tag image "$(manifest_value "$manifest" image)")" --tag "$(tag by "$(manifest_value "$manifest" takenBy)")" \
    database.dump manifest.json >/dev/null || fail "$name was not uploaded: $(why)"
  # restic calls it a success where a file is missing as it begins.
  is_whole . "$name" || fail "$name was not uploaded: it has lost a file meanwhile"
  printf '%s\n' "$name" >>"$copies"
  is_noted || note never
  [ "$backup" != "$aside" ] || mv -T "$aside" "$backups/$name"
  say "uploaded $name in $(($(seconds) - started)) s"
done
[ -n "$missing" ] || say "every backup has its copy"

# Nobody but the uploads forgets copies.
lost=
if [ -e "$had" ] && [ "$unread" = 0 ]; then lost=$(grep -vxFf "$copies" "$had" | tr '\n' ' '); fi
[ -z "$lost" ] || fail "these copies are gone from $RESTIC_REPOSITORY, and no upload has forgotten them: ${lost% };" \
  "the newer backups have theirs: $again"

# forget_old: forgets by the time of the backups, and then prunes. Not by `forget --prune`, which also takes the data of copies
# that the bucket has not let go, because a lock of its own protects them: those would be listed, and not restore.
# Before that, what is no copy goes: the rules could keep it in place of the copy, which bears the same time.
# The newest backup's copy stays, as the backup does on the volume: a clock that was behind may have dated it before all others.
held=
forget_old() {
  if [ -s "$hollow" ]; then
    limit=${CONTACT_SECONDS:-120}
    # shellcheck disable=SC2046 # one argument for each id
    locking forget $(cat "$hollow") >/dev/null || return
    note_held
    [ -z "$held" ] || return 0
  fi
  limit=${FORGET_SECONDS:-7200}
  # shellcheck disable=SC2086 # the policy is several arguments
  locking forget --host "$STACK" --group-by host $policy ${newest:+--keep-tag "name=$newest"} --json >"$work/forgotten" || return
  note_held
  grep -q '"remove":\[{' "$work/forgotten" || return 0
  locking prune >/dev/null || return
  note_held
}
note_held() { ! grep -q '^unable to remove ' "$errors" || held=yes; }

# Once a day: with a backup an hour, each upload would forget one copy, and prune, which reads the whole index and writes packs
# again. What has been done, for which day and by which rules, is noted on the volume.
today=$(date -u +%F)
newest=$(list_backups "$PGDATABASE" | grep -xFf "$copies" | head -n 1)
[ "$unread" != 0 ] || note_copies <"$copies"
if is_noted && [ "$(cat "$noted")" != "$today $RESTIC_REPOSITORY $policy" ]; then
  forgotten=0
  rm -f "$had" # unless all of it succeeds
  sync "$backups"
  forget_old || forgotten=$?
  case $forgotten in
  0) ;;
  11) say "somebody else uses the repository: old copies are forgotten by the next upload" ;;
  *)
    # restic tries again for a quarter of an hour what it does not take for a refusal.
    late || fail "the copies are good, but old ones could not be forgotten: $(why)"
    held=yes
    ;;
  esac
  if [ -n "$held" ]; then
    say "the bucket does not let old copies go yet: a later upload forgets them"
  elif [ "$forgotten" = 0 ]; then
    # Nobody else had a lock, so of those who ran before none is left.
    printf '' >"$hosts" || say "$hosts cannot be written"
    note "$today"
    sed 's/"remove":.*//' "$work/forgotten" | grep -o '"name=[a-zA-Z0-9-]*"' | tr -d '"' | sed 's/^name=//' | note_copies
  fi
fi

[ -z "$damaged" ] || fail "damaged on the volume, and without a copy:$damaged; the other backups have theirs. Suspect the disk," \
  "and take another backup. $backups/.damaged-* fails every upload until somebody removes it, or for a week"

result "{\"newestCopy\": \"$newest\"}"
