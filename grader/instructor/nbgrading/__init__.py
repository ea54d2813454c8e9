"""nbgrader, unpatched: notebooks, written questions, handing in, marks, feedback."""
