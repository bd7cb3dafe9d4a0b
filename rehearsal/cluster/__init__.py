"""The cluster: a control plane of real processes, and stand-ins for what the nodes would run."""
