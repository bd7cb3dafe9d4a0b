"""Stand-in provider plugins: they do over HTTP what the real ones do, where the real ones are not installed."""
