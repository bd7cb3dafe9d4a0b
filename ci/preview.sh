#!/usr/bin/env bash
# One stack's preview for a merge request: the live stack's where this job may read its credentials, else the
# rehearsal's. Leaves preview.json and preview-report.json, and one comment on the merge request.
set -euo pipefail

stack=${1:?usage: ci/preview.sh <stack>}
rehearsed=()
status=0

make --silent setup >&2
if [[ -n ${PULUMI_BACKEND_URL:-} && -n ${PULUMI_CONFIG_PASSPHRASE:-} ]]; then
    pulumi login "$PULUMI_BACKEND_URL" >&2
    pulumi install >&2
    pulumi preview --stack "$stack" --json --non-interactive --policy-pack policies >preview.json || status=$?
else
    echo "No credentials of stack $stack in this job: this is the rehearsal's preview of a first up." >&2
    rehearsed=(--rehearsed)
    .venv/bin/python -m rehearsal preview --stack "$stack" --json >preview.json || status=$?
fi
# Written also after a failed preview, so that the reviewer sees that it failed.
.venv/bin/python -m ci.note --stack "$stack" "${rehearsed[@]}" preview.json
exit "$status"
