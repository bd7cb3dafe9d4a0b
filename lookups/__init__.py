"""What the program asks of the environment, 1Password, GitLab and Cloudflare before the first resource exists."""
