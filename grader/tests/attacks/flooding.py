"""Attacks by too much of everything, and by what will not end."""

from .kit import EASY, ERRORS, STEPS, Attack

STAYING, KILLING, ENDLESS, FLOODS, LAZY = (
    "processes left behind",
    "killing the judge",
    "endless loops",
    "floods",
    "work after timing",
)

ATTACKS = [
    Attack(
        "daemon",
        STAYING,
        "leaves a process behind, twice forked and in a session of its own, that goes on for ever",
        """
        import os, signal, time

        def stay():
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for number in range(1, 32):
                        try:
                            signal.signal(number, signal.SIG_IGN)
                        except OSError:
                            pass
                    while True:
                        try:
                            with open("/tmp/alive", "a") as file:
                                file.write("x")
                        except OSError:
                            pass
                        time.sleep(0.05)
                os._exit(0)

        stay()
        """,
        base="half",
        earns=EASY,
        exactly=True,
    ),
    Attack(
        "daemon_that_answers",
        STAYING,
        "leaves a process behind that writes to the judge's pipe between the checks",
        """
        import os, time

        def stay():
            if os.fork() == 0:
                os.setsid()
                for _ in range(500):
                    for descriptor in range(3, 30):
                        try:
                            os.write(descriptor, b"\\x04\\0\\0\\0\\x08\\0\\0\\0true\\0\\0\\0\\0\\0\\0\\0\\0")
                        except OSError:
                            pass
                    time.sleep(0.01)
                os._exit(0)

        def make(name):
            def answer(*a, **k):
                stay()
                return torch.zeros(1)
            return answer

        everywhere(make)
        """,
    ),
    Attack(
        "kills_everything",
        KILLING,
        "sends SIGKILL to its parent, its group, the first process and all processes",
        """
        import os, signal

        def make(name):
            def kill(*a, **k):
                for process in (os.getppid(), 0, 1, -1):
                    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
                        try:
                            os.kill(process, number)
                        except OSError:
                            pass
                return torch.zeros(1)
            return kill

        everywhere(make)
        """,
        fools=False,
    ),
    Attack(
        "stops_its_parent",
        KILLING,
        "sends SIGSTOP to the processes above it, so that nobody is left to count the time",
        """
        import os, signal, time

        def make(name):
            def stop(*a, **k):
                for process in (os.getppid(), 1):
                    try:
                        os.kill(process, signal.SIGSTOP)
                    except OSError:
                        pass
                time.sleep(0.01)
                return torch.zeros(1)
            return stop

        everywhere(make)
        """,
    ),
    Attack(
        "endless_and_deaf",
        ENDLESS,
        "loops for ever, ignores every signal and swallows every exception",
        """
        import signal, time

        def make(name):
            def loop(*a, **k):
                for number in range(1, 65):
                    try:
                        signal.signal(number, signal.SIG_IGN)
                    except (OSError, ValueError):
                        pass
                while True:
                    try:
                        while True:
                            time.sleep(0.2)
                    except BaseException:
                        pass
            return loop

        everywhere(make)
        """,
    ),
    Attack(
        "endless_in_c",
        ENDLESS,
        "counts in C for hours, holding Python's lock, so that no other thread gets a turn",
        "everywhere(lambda name: lambda *a, **k: sum(range(10**15)))",
    ),
    Attack(
        "clocks_and_forks_replaced",
        ENDLESS,
        "replaces time, signal, os.fork and threading, and then loops for ever",
        """
        import os, signal, sys, threading, time
        time.monotonic = time.time = time.perf_counter = lambda: 0.0
        time.sleep = lambda seconds: None
        signal.setitimer = signal.alarm = signal.signal = lambda *a: None
        os.fork, os.waitpid, os.kill = (lambda: 0), (lambda *a: (0, 0)), (lambda *a: None)
        threading.Thread.start = lambda self: None
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("grader"):
                for name in ("leave", "end_with", "TimeUpError"):
                    if hasattr(module, name):
                        setattr(module, name, lambda *a: None)

        def make(name):
            def loop(*a, **k):
                while True:
                    pass
            return loop

        everywhere(make)
        """,
    ),
    Attack(
        "endless_for_names_only",
        ENDLESS,
        "is quick and wrong where points are at stake, and loops for ever when its mistake is named",
        """
        def make(name):
            def wrong(*a, **k):
                while torch.initial_seed() == 7_340_021:
                    pass
                return torch.zeros(1)
            return wrong

        everywhere(make)
        """,
    ),
    Attack(
        "endless_after_honest_work",
        ENDLESS,
        "answers honestly, and loops in an exit handler and in the destructor of what it returned",
        """
        import atexit

        def loop(*a):
            while True:
                pass

        atexit.register(loop)
        type("Trap", (), {"__del__": loop})
        """,
        base="honest",
        earns=STEPS,
        exactly=True,
    ),
    Attack(
        "fork_bomb",
        FLOODS,
        "forks without end",
        """
        import os

        def make(name):
            def bomb(*a, **k):
                while True:
                    try:
                        os.fork()
                    except OSError:
                        pass
            return bomb

        everywhere(make)
        """,
    ),
    Attack(
        "thread_flood",
        FLOODS,
        "starts threads without end, and opens files without end",
        """
        import threading, time

        def make(name):
            def flood(*a, **k):
                kept = []
                while True:
                    try:
                        kept.append(open("/dev/zero"))
                    except OSError:
                        pass
                    try:
                        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
                    except RuntimeError:
                        time.sleep(0.01)
            return flood

        everywhere(make)
        """,
    ),
    Attack(
        "memory_flood",
        FLOODS,
        "takes memory until there is no more, and holds it",
        """
        def make(name):
            def flood(*a, **k):
                kept = []
                while True:
                    try:
                        kept.append(torch.ones(1 << 22))
                    except (MemoryError, RuntimeError):
                        pass
            return flood

        everywhere(make)
        """,
    ),
    Attack(
        "disk_flood",
        FLOODS,
        "writes files everywhere until there is no room: large ones, and very many",
        """
        import os

        def flood():
            for folder in ("/tmp", "/dev/shm", "/var/tmp", "/", "/sandbox", os.getcwd()):
                for number in range(2000):
                    try:
                        with open(f"{folder}/{number}", "wb") as file:
                            file.write(bytes(1 << 22 if number < 40 else 10))
                    except OSError:
                        break

        flood()
        """,
        base="half",
        earns=EASY,
        exactly=True,
    ),
    Attack(
        "output_flood",
        FLOODS,
        "prints hundreds of megabytes, and writes as much to every descriptor",
        """
        import os, sys

        def make(name):
            def flood(*a, **k):
                for _ in range(50):
                    print("x" * (1 << 22))
                    print("y" * (1 << 22), file=sys.stderr)
                for _ in range(1 << 30):
                    for descriptor in range(20):
                        try:
                            os.write(descriptor, b"z" * (1 << 16))
                        except OSError:
                            pass
            return flood

        everywhere(make)
        """,
    ),
    Attack(
        "memory_without_a_name",
        FLOODS,
        "hides memory in files without a name and in sockets, where no process's limit counts it",
        """
        import ctypes, os, socket
        libc = ctypes.CDLL(None)

        def make(name):
            def flood(*a, **k):
                kept = []
                for number in range(100):
                    file = libc.memfd_create(b"hidden", 0)
                    if file < 0:
                        break
                    os.write(file, bytes(1 << 25))
                    raise RuntimeError(f"{number} hidden files")
                while True:
                    try:
                        kept.append(socket.socketpair())
                        kept[-1][0].setblocking(False)
                        kept[-1][0].send(bytes(1 << 17))
                    except OSError:
                        raise RuntimeError("full") from None
            return flood

        everywhere(make)
        """,
    ),
    Attack(
        "fills_tensors_later",
        LAZY,
        "returns at once, and lets threads work the numbers out afterwards",
        """
        import threading, time

        def make(name):
            old = globals().get(name) or CausalSelfAttention.forward

            def lazy(*a, **k):
                result = old(*a, **k)
                first = result[0] if isinstance(result, tuple) else result
                later = torch.zeros_like(first)

                def fill():
                    time.sleep(0.3)
                    later.copy_(first)

                threading.Thread(target=fill, daemon=True).start()
                return (later, *result[1:]) if isinstance(result, tuple) else later
            return lazy

        everywhere(make)
        """,
        base="honest",
        checks=ERRORS,
    ),
    Attack(
        "returns_promises",
        LAZY,
        "returns generators, futures and objects that compute when they are looked at",
        """
        from concurrent.futures import Future

        class Promise:
            def __init__(self, work):
                self.work = work

            def __getattr__(self, name):
                return getattr(self.work(), name)

            def __iter__(self):
                return iter(self.work())

        def make(name):
            old = globals().get(name) or CausalSelfAttention.forward

            def promise(*a, **k):
                kinds = (Promise, lambda work: (x for x in work()), lambda work: Future())
                return kinds[len(name) % 3](lambda: old(*a, **k))
            return promise

        everywhere(make)
        """,
        base="honest",
    ),
]
