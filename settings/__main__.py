"""`python -m settings <project>` prints the JSON schema that stack.schema.json holds."""

from __future__ import annotations

import sys

from settings import Settings
from settings.schema import stack_file_schema

if len(sys.argv) != 2:
    sys.exit("usage: python -m settings <name in Pulumi.yaml>")
sys.stdout.write(stack_file_schema(Settings, sys.argv[1]))
