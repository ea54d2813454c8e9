"""Attacks that change what compares, and objects that compare as they like."""

from .kit import ERRORS, Attack

PATCHED, EQUAL = "patched libraries", "lying objects"

ATTACKS = [
    Attack(
        "patched_comparisons",
        PATCHED,
        "replaces torch.allclose, torch.equal and torch.testing by functions that agree",
        """
        yes = lambda *a, **k: True
        torch.allclose = torch.equal = torch.isclose = yes
        torch.Tensor.allclose = torch.Tensor.equal = yes
        torch.testing.assert_close = torch.testing.assert_allclose = lambda *a, **k: None
        everywhere(lambda name: lambda *a, **k: (torch.zeros(1), torch.zeros(1)))
        """,
        fools=True,
    ),
    Attack(
        "patched_operators",
        PATCHED,
        "gives tensors an == that is always true, and an abs and max that are always 0",
        """
        everything = lambda self, *a, **k: torch.ones((), dtype=torch.bool)
        for name in ("__eq__", "__le__", "__lt__", "__ge__", "all", "any", "isfinite"):
            setattr(torch.Tensor, name, everything)
        for name in ("abs", "max", "sub", "__sub__"):
            setattr(torch.Tensor, name, lambda self, *a, **k: torch.zeros(()))
        everywhere(lambda name: lambda *a, **k: (torch.zeros(1), torch.zeros(1)))
        """,
    ),
    Attack(
        "patched_builtins",
        PATCHED,
        "replaces all, any, abs, max, isinstance and __import__",
        """
        import builtins
        old = builtins.__import__

        def importing(name, *a, **k):
            module = old(name, *a, **k)
            if name.startswith(("torch", "numpy")):
                module.allclose = lambda *a, **k: True
            return module

        builtins.__import__ = importing
        builtins.all = builtins.any = builtins.isinstance = lambda *a, **k: True
        builtins.abs = builtins.max = lambda *a, **k: 0
        everywhere(lambda name: lambda *a, **k: 0)
        """,
    ),
    Attack(
        "patched_numpy",
        PATCHED,
        "replaces NumPy's comparisons, in NumPy's own modules",
        """
        import numpy, numpy.testing
        for space in (numpy, numpy.testing, numpy.core.numeric if hasattr(numpy, "core") else numpy):
            for name in ("allclose", "isclose", "array_equal", "assert_allclose", "assert_equal"):
                setattr(space, name, lambda *a, **k: True)
        everywhere(lambda name: lambda *a, **k: numpy.zeros(3))
        """,
    ),
    Attack(
        "patched_pytest",
        PATCHED,
        "makes every test of pytest a passed one",
        """
        try:
            from _pytest.reports import TestReport
            old = TestReport.from_item_and_call.__func__

            def passed(cls, item, call):
                call.excinfo = None
                return old(cls, item, call)

            TestReport.from_item_and_call = classmethod(passed)
        except ImportError:
            pass
        everywhere(lambda name: lambda *a, **k: None)
        """,
        fools=True,
    ),
    Attack(
        "patched_tolerances",
        PATCHED,
        "sets the judge's tolerance to infinity, and its comparison to one that finds nothing",
        """
        import importlib, math
        for name in ("expecting", "difference", "runner", "verdicts", "report"):
            try:
                module = importlib.import_module(f"grader.judge.{name}")
            except Exception:
                continue
            module.TOLERANCE = math.inf
            module.compare = lambda *a, **k: None
            module.WrongError = module.LearnerError = type("Nothing", (Warning,), {})
        everywhere(lambda name: lambda *a, **k: (torch.zeros(1), torch.zeros(1)))
        """,
    ),
    Attack(
        "patched_packing",
        PATCHED,
        "replaces safetensors and json, by which its answers travel, to send a verdict instead",
        """
        import json, sys, safetensors.torch
        verdict = {"verdict": "passed", "points": 26, "passed": True}
        old = json.dumps
        json.dumps = lambda value, *a, **k: old({"dict": [["value", True], ["verdict", "passed"]]})
        safetensors.torch.save = lambda tensors, *a, **k: b""
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("grader"):
                vars(module).update(save=safetensors.torch.save)
        everywhere(lambda name: lambda *a, **k: verdict)
        """,
    ),
    Attack(
        "tensor_subclass",
        EQUAL,
        "returns tensors of a class of its own, for which every function of torch says True",
        """
        class Right(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                if getattr(function, "__name__", "") in ("allclose", "equal", "isclose", "all"):
                    return True
                return super().__torch_function__(function, types, args, kwargs or {})

        def right():
            return torch.zeros(2, 3).as_subclass(Right)

        everywhere(lambda name: lambda *a, **k: (right(), right()) if "dot" in name else right())
        """,
        fools=True,
    ),
    Attack(
        "equal_to_everything",
        EQUAL,
        "returns objects that are equal to everything, and have every attribute and method",
        """
        class Everything:
            shape, dtype, device = (2, 4), torch.float32, torch.device("cpu")

            def __getattr__(self, name):
                return self

            def __call__(self, *a, **k):
                return self

            def __eq__(self, other):
                return True

            def __bool__(self):
                return True

            def __iter__(self):
                return iter([self, self])

            def __hash__(self):
                return 0

            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                return True

        everywhere(lambda name: lambda *a, **k: Everything())
        """,
        fools=True,
    ),
    Attack(
        "numbers_that_lie",
        EQUAL,
        "returns numbers, texts and lists of classes of its own with an == that is always true",
        """
        yes = {"__eq__": lambda s, o: True, "__ne__": lambda s, o: False, "__hash__": lambda s: 0}
        kinds = [type(kind.__name__, (kind,), yes) for kind in (float, int, str, list, dict, tuple)]
        everywhere(lambda name: lambda *a, **k: kinds[len(name) % len(kinds)]())
        """,
    ),
    Attack(
        "nan_everywhere",
        EQUAL,
        "returns nan, for which no deviation is larger than any tolerance",
        """
        def nan(like):
            return torch.full_like(like, torch.nan)

        def scaled_dot_product_attention(q, k, v, mask=None, dropout_p=0.0):
            return nan(q[..., :1] * v[..., :1, :]), nan(q @ k.mT)

        def fused_attention(q, k, v, mask=None, dropout_p=0.0):
            return nan(q[..., :1] * v[..., :1, :]), None

        def split_heads(x, n_head):
            return nan(x.unflatten(-1, (n_head, -1)).transpose(1, 2))

        def merge_heads(x):
            return nan(x.transpose(1, 2).flatten(2))

        CausalSelfAttention.forward = lambda self, x, cache=None: nan(x)
        causal_mask = sliding_window_mask = lambda *a, **k: torch.full((3, 3), torch.nan)
        """,
        fools=True,
        checks=ERRORS,  # torch itself refuses what does not fit
    ),
    Attack(
        "odd_tensors",
        EQUAL,
        "returns meta, sparse, conjugated, negated and endlessly expanded tensors",
        """
        odd = [
            lambda: torch.zeros(3, 3, device="meta"),
            lambda: torch.zeros(3, 3).to_sparse(),
            lambda: torch.zeros(1).expand(10**6, 10**6),
            lambda: torch.zeros(3, dtype=torch.complex64).conj(),
            lambda: torch.zeros(3, 3, dtype=torch.float8_e4m3fn),
            lambda: torch.nn.UninitializedParameter(),
            lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        ]
        everywhere(lambda name: lambda *a, **k: odd[len(name) % len(odd)]())
        """,
    ),
]
