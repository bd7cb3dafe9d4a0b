"""Everything that lets the real program run on one machine with no credentials; the product never imports it."""
