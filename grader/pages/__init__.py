"""Text that stands in the pages and is made from the course: tables, common mistakes, the reference.

A page holds `<!-- generated: KIND ARGUMENTS -->` and `<!-- end -->`, each on a line of its own; what
stands between them is written there by `python -m grader pages`. So whatever builds the site reads
plain Markdown, and a test says when a page and the course have drifted. One file here for each kind
of text; `blocks.py` runs the code that pages show, `promises.py` holds what the course promises.
"""
