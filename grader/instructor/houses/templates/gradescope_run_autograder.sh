#!/usr/bin/env bash
# Run by Gradescope for each submission, as root: judges lesson LESSON_NUMBER.
# AUTOGRADER and COURSE_PYTHON are for trying it out elsewhere.
set -u
home="${AUTOGRADER:-/autograder}"
cd "$home/source/course" || exit 1
exec "${COURSE_PYTHON:-/opt/course}/bin/python" -s -B -m grader.instructor.houses.gradescope_run LESSON_NUMBER
