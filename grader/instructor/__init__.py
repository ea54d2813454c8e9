"""The instructor's side: strangers' programs judged in a sandbox, and what is done with the verdicts.

taking, places        what was handed in, made into the bytes of one module
sandbox               a way to reach a stranger's module: where there is nothing to read or harm
exam, guards, hidden/ what a lesson's submissions are judged by: checks, hidden ones, one secret seed
supervisor            judges one submission, and alone writes its report
submissions, grading  a class, side by side, going on where it left off
regrading             after a check was corrected

course/     course.toml: which lessons, when, how late; and who takes part
release/    the learners' repository, and the proof that no solution is in it
nbgrading/  notebooks, written questions, handing in, marks and feedback with nbgrader
reports/    reports to be read: of one submission, of the class
houses/     Gradescope, GitHub, Canvas, Moodle
"""
