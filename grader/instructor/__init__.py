"""The instructor's side: strangers' programs judged in a sandbox, and nbgrader's cells.

sandbox      a way to reach a stranger's module: in bubblewrap, where there is nothing to read or harm
supervisor   judges one submission, and alone writes its report
cells        a lesson as an nbgrader notebook whose cells read that report
"""
