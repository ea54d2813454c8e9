"""The core of the judge: it runs one check against one module and says what came of it.

    border     what may pass between a check and the learner's code, and in which form
    wire       the same as bytes, for a learner's module in another process
    bench      the learner's side: loads the module, does what a check asks, answers
    raised     what went wrong there, in plain values
    settings   what it changes is put back
    elsewhere  a second device, for machines that have none
    backends   the two ways to reach a bench: in this process, or in a child
    proxies    what a check sees of the learner's module: the `lesson` fixture
    expecting  `expect`: compares, records, complains
    runner     one check from beginning to end

Nothing in here knows a command, pytest or nbgrader.
"""
