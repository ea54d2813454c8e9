"""Reports to be read: of one submission, and of a class."""
