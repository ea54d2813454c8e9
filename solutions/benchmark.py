"""How fast the course's code is, beside what people would take instead.

    python -m solutions.benchmark            everything, half an hour on two cores (make bench)
    python -m solutions.benchmark --help     one kind of work, tiny sizes, the site's page

No lesson: the measuring stands in `lessons/engine/benchmark/`, and here it works on the reference.
"""

if __name__ == "__main__":
    from .engine.benchmark.command import main

    raise SystemExit(main())
