#!/bin/sh
# Lists what is on the backup volume, newest first: of each backup its manifest, without the roles, as one line of JSON; of
# what is named as a backup and is none any more, its name alone.
#
#     BACKUPS       the backup volume (/backups), may be read-only
#     PGDATABASE    first part of the backups' names
set -eu
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"

trap 'exit 143' TERM
for name in $(list_names "$PGDATABASE"; list_names before-restore; list_names recovered); do
  if is_backup "$backups/$name"; then
    sed '/^  "globals": /d' "$backups/$name/manifest.json" | tr -d '\n'
    echo
  elif [ -e "$backups/$name" ]; then # what is gone by now has been pruned
    printf '{"name": "%s"}\n' "$name"
  fi
done
