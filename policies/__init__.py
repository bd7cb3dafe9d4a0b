"""The policy pack: rules that every preview checks, in the rehearsal and in CI."""
