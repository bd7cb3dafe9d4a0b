#!/bin/sh
# Checks the restic repository: that all of its structure is there, and reads a part of the data back, another one each time.
# Leaves by a status other than 0, with the reason as the last line, where something is missing or damaged.
#
#     READ_SUBSET    how much of the data is read (10%)
#     and what offsite.sh needs
set -eu
umask 077
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"
# shellcheck source=components/scripts/offsite.sh
. "${0%/*}/offsite.sh"

trap 'exit 143' TERM
LOCK_PATIENCE=${LOCK_PATIENCE:-10m}
alone
exists=0
list_copies || exists=$?
[ "$exists" = 0 ] || fail "there is no repository at $RESTIC_REPOSITORY: nothing has been uploaded yet"
locking check --read-data-subset "${READ_SUBSET:-10%}" >"$work/found" || {
  cat "$work/found" "$errors"
  fail "the repository $RESTIC_REPOSITORY is damaged or cannot be read: $(why)"
}
say "the repository is whole: $(wc -l <"$copies") copies"
