"""Stand-in provider plugins, for use without the real ones: they do what the real ones do, over the same HTTP."""
