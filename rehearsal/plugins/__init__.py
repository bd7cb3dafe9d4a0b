"""Stand-in provider plugins: what the real ones do, over the same HTTP, where the real ones are not installed."""
