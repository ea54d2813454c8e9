"""What makes a real run fast, safe or distributed: complete code, used by both packages.

Nothing here is for the learner to write. A file imports lesson modules relatively
(`from ..model import GPT`), so it works on whichever package it was reached through.
"""
