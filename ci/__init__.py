"""Code for pipelines: jobs to include, and the report that a preview leaves on a merge request."""
