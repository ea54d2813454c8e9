"""The room with the windows: pictures of what the code of the lessons does to a real model and text.

    python -m lessons.explore 03        your own code where it is finished, the reference where it is at hand
    python -m solutions.explore 03      the reference library: the same files, another search path
    python -m lessons.explore all       every lesson in order, on one page

What lies where:

    lesson_00.py ... lesson_14.py   the pictures of each lesson: what is computed, and how it is drawn
    subject.py      the model that is looked at: DistilGPT-2, our own small one, or any that you name
    library.py      whose code draws: yours or the reference's
    options.py, reading.py          the command line, and the small files that it reads
    gallery.py      from figures to files: PNG, figures.json, tables in the terminal, one HTML page
    drawing.py, tokens.py           the common style, and how a token is written down
    for_widgets/    the data of the site's widgets (`python -m solutions.explore widgets`)

Nothing here is for the learner to write, and nothing here gives a lesson's step away.
"""
