"""The child process of `shards.py`: chunks come in as lines of JSON, records go out.

python -m lessons.engine.shard_worker WORK_FOLDER DTYPE
"""

import json
import os
import signal
import sys
from pathlib import Path

from .shards import Chunk, encode_chunk
from .tokenizers import load_tokenizer


def main() -> None:
    """Answer each chunk with its record, until no more come."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library's chatter is no answer
    work, dtype = Path(sys.argv[1]), sys.argv[2]
    tokenizer = load_tokenizer(str(work / "tokenizer"))
    for line in sys.stdin:  # ends when the parent closes it, or is gone
        chunk = Chunk(**json.loads(line))
        try:
            record = encode_chunk(chunk, tokenizer, work, dtype)
        except OSError as error:
            record = {"os_error": [error.errno, error.strerror, error.filename]}
        answers.write(json.dumps(record) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
