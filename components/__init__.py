"""The components of the stack: one noun a file, one ComponentResource each."""

import gc

# The SDKs are half a million objects that stay. To look through them again and again while they are loaded takes an
# eighth of the program's start (`make bench`), and finds nothing.
gc.set_threshold(200_000)
