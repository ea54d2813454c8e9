"""Grading in other people's houses: Gradescope, GitHub, Canvas, Moodle."""
