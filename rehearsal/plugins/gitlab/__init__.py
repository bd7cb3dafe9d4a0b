"""Stand-in for pulumi-gitlab 10.4.0: the resources and functions that the program uses, through python-gitlab."""
