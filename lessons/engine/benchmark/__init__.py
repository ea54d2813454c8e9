"""How fast the course's code is, beside what people would take instead: one table, in one run.

measure      interleaved rounds, medians and their spread, memory
contender    a child process for each side, so that neither changes the other's memory or threads
machine      what it was measured on, and what that machine can do at most
table        a row, and the table for the terminal, as JSON and as Markdown
command      `python -m solutions.benchmark`

Each other file is one kind of work.
"""
