"""What the commands share for work with the cluster: its client, Jobs, exec, and the logs of pods."""
