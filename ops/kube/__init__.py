"""What the commands share to work with the cluster: its client, Jobs, and the logs of pods."""
