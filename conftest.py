"""Marks the project's root for pytest, so that `lessons`, `solutions` and `grader` are found."""

pytest_plugins = ["grader.plugin"]
