"""The judge, judged: every variant of the bank and many mutants through every check, measured.

forks        runs jobs in forks of this one warm process, side by side over the cores
jobs         the jobs: judge a module, or write down what it gives
mutants      machine mutants of a solution, by Cosmic Ray's operators
recording    the recorded answers of a lesson
measures     what the audit counts, lesson by lesson
"""
