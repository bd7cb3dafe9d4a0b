# shellcheck shell=sh disable=SC2034,SC2154
# What upload.sh, check-offsite.sh and fetch.sh share: the restic repository in which the off-site copies are. Each copy is a
# snapshot of the two files of one backup, tagged with its name, and exists only once all of it has arrived.
#
#     RESTIC_REPOSITORY RESTIC_PASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY    as restic reads them
#     STACK            host of the snapshots: whose backups they are
#     CONTACT_SECONDS  seconds to wait for the endpoint's first answer (120)
#     LOCK_PATIENCE    how long to wait for somebody of elsewhere who has locked the repository (2m)

work=${TMPDIR:-/tmp}
errors=$work/restic.errors

# As path: a bucket that becomes part of the host's name would be another host than the network policy lets through.
# What the endpoint refuses, restic tries again for a quarter of an hour; `limit` seconds end it before.
limit=
offsite() { ${limit:+timeout "$limit"} restic --option s3.bucket-lookup=path --quiet "$@" 2>"$errors"; }

# late: whether `limit` has ended the last run of restic. Its status does not tell: BusyBox's timeout has restic's own, which is 1.
late() { grep -q 'signal terminated received' "$errors"; }

# why: the reason of the last failure, in the endpoint's or restic's words. What restic tries again (for a quarter of an hour)
# ends as "context canceled" where the time is up; the reason then stands in the lines before.
why() {
  words=$(
    sed -n 's/.*retrying after [^:]*: \(.*\)/\1/p; s/^Fatal: \(.*\)/\1/p; s/^error: \(.*\)/\1/p
      s/^unable to create lock in backend: //p; s/^Ignoring "[^"]*": //p; s/^could not load snapshots: //p' "$errors" |
      grep -v 'context canceled\|^unable to open config file: Stat:$' | tail -n 1
  )
  if [ -z "$words" ]; then
    # The lines of a stack trace have no blanks.
    if late; then words=${limit:+no end within $limit s}; else words=$(grep ' ' "$errors" | tail -n 1); fi
  fi
  printf '%s' "$words"
}

# list_copies: puts restic's list of the copies into $snapshots, and the names of the backups that have one into $copies, each in
# a line. 0 where the repository answers and opens with our password, 10 where there is none yet. It is the first that is asked
# of the endpoint: each run of restic computes its key for half a second, so that none runs to ask for less. Takes no lock: an
# upload that was killed as it pruned leaves one that excludes everybody. Not for a subshell, in which `fail` would end nothing
# else.
# Of a file that it cannot read, restic says so, and still saves a snapshot of the other one: that is no copy, and its id goes
# into $hollow. Before 0.17, restic did not note how many files it had read.
# It also leaves out copies that it cannot read, with a warning only: $unread says how many, for they may be the newest.
snapshots=$work/snapshots
copies=$work/copies
hollow=$work/hollow
list_copies() {
  status=0 unread=0
  limit=${CONTACT_SECONDS:-120}
  list || status=$?
  # Or the endpoint answers, and has very many: restic asks for each. It waits for none for more than a quarter of an hour.
  if late; then
    status=0
    offsite --no-lock cat config >/dev/null || status=$?
    limit=
    [ "$status" != 0 ] || list || status=$?
  fi
  limit=
  case $status in
  0)
    sed 's/},{"time"/}\n{"time"/g' "$work/listed" | sed -n 's/^\[//; s/\]$//; /"name=/p' >"$snapshots"
    sed -n '/"total_files_processed":2,/!s/.*"summary":.*"id":"\([0-9a-f]*\)".*/\1/p' "$snapshots" >"$hollow"
    sed -i '/"summary":/{/"total_files_processed":2,/!d;}' "$snapshots"
    sed -n 's/.*"name=\([a-zA-Z0-9-]*\)".*/\1/p' "$snapshots" >"$copies"
    [ -s "$copies" ] || [ "$unread" = 0 ] || fail "no copy can be read in $RESTIC_REPOSITORY: $(why)"
    ;;
  10) : >"$copies"; return 10 ;;
  12) fail "the repository $RESTIC_REPOSITORY does not open with the password that 1Password holds: put the one back with" \
    "which it was made; without it nobody can read the copies" ;;
  *)
    reason=$(why)
    fail "the repository $RESTIC_REPOSITORY cannot be reached: ${reason:-no answer within ${CONTACT_SECONDS:-120} s}"
    ;;
  esac
}
list() {
  offsite --no-lock snapshots --json --host "$STACK" >"$work/listed" || return
  ! grep -q '^could not load snapshots: ' "$errors" || return 1
  unread=$(grep -c '^Ignoring ' "$errors") || true
}

# holds DIRECTORY NAME: all of the backup of this name, as it was written.
holds() { is_whole "$1" "$2" && has_checksum "$1/database.dump" "$(manifest_value "$1/manifest.json" dumpSha256)"; }

# alone: from here to its end, this script is the only upload or check that has this volume.
alone() {
  touch "$backups/.offsite-lock" || fail "$backups cannot be written to"
  exec 8>"$backups/.offsite-lock"
  waiting=
  tries=${ALONE_SECONDS:-7200}
  until flock -n 8 2>/dev/null; do
    [ "$tries" -gt 0 ] || lock 8 "another upload or check is still running"
    [ -n "$waiting" ] || say "waiting for another upload or check"
    waiting=yes
    tries=$((tries - 1))
    sleep 1
  done
}

# locking COMMAND...: restic, with a lock of its own in the repository; 11 where somebody of elsewhere still has one that
# excludes it. Only where the first try meets a lock are there any to look for.
hosts=$backups/.offsite-hosts
locking() {
  host=$(cat /proc/sys/kernel/hostname)
  grep -qxF -- "$host" "$hosts" 2>/dev/null || printf '%s\n' "$host" >>"$hosts" || fail "$backups cannot be written to"
  status=0
  offsite "$@" || status=$?
  [ "$status" = 11 ] || return "$status"
  clear_locks
  offsite "$@" --retry-lock "${LOCK_PATIENCE:-2m}"
}

# clear_locks: removes the locks in the repository that uploads and checks of this volume have left. They were killed, for who
# runs is alone. By their hosts, which are the pods' names: restic by itself waits until nobody has renewed a lock for half an
# hour, and so it does here where somebody of elsewhere holds one.
clear_locks() {
  ids=$(offsite --no-lock list locks) || fail "locks that are left over cannot be listed: $(why)"
  which=--remove-all
  for id in $ids; do
    holder=$(offsite --no-lock cat lock "$id" | sed -n 's/.*"hostname": *"\([^"]*\)".*/\1/p')
    grep -qxF -- "${holder:-?}" "$hosts" || which=
  done
  # shellcheck disable=SC2086 # an option, or nothing
  [ -z "$ids" ] || offsite unlock $which >/dev/null || fail "locks that are left over cannot be removed: $(why)"
}
