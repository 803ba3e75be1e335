"""The pipeline and its command line."""
