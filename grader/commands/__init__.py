"""What the user can type after `python -m grader`: one file per command, found by its name.

The first line of a file's docstring is the command's help. `add_arguments(parser)` declares its
options, `run(options)` does the work and returns the exit code (None: 0). All files are imported
whenever a command starts, so torch and other slow libraries are imported inside `run`.
"""
