#!/bin/sh
# Takes away a database that restore.sh has filled to look into. Nothing where it is gone already.
# Leaves by a status other than 0, with the reason as the last line, where it may still be there.
#
#     PGHOST PGUSER PGPASSWORD PGDATABASE    the live database, as libpq reads them
#     DISCARD                                the name that was given to RESTORE_INTO
set -eu
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"

trap 'exit 143' TERM
# Never another than one to look into, whatever is given.
name=${PGDATABASE}_look_${DISCARD:?is the name of a database to look into}
PGDATABASE=postgres sql --set=name="$name" --file="$scripts/drop.sql" || fail "the database $name cannot be dropped"
say "there is no database $name any more"
