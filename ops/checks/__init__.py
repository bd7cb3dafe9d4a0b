"""What `python -m ops verify` looks at: one check a function, one system a file. Nothing here changes anything."""
