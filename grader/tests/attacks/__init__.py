"""Hostile submissions: each a small module that wants points, secrets, or harm.

    python -m grader.tests.attacks     runs them all, writes the table in site/instructors/security.md

They are written for lesson 03 (`attention.py`). An attack stands on a base: the untouched stub (its
values earn nothing), the honest solution, or one in which some steps are right.

kit          what an attack is made of
leaving      ends the process in the middle of it
patching     changes torch, builtins, the judge; objects that are equal to everything
remembering  answers that are looked up instead of computed
looking      searches memory, files, keyrings and the network for answers and secrets
forbidden    takes what is to be written from a library
beside       files beside the module, archives
flooding     too much of everything; processes that stay
lying        forged, late and impossible answers; texts that act where they are shown
naive        an ordinary pytest grader, to see what each attack is worth there
running      sends an attack to the supervisor, and looks at what came of it
"""

from . import beside, flooding, forbidden, leaving, looking, lying, patching, remembering
from .kit import Attack

MODULES = (leaving, patching, remembering, looking, forbidden, beside, flooding, lying)
ATTACKS: tuple[Attack, ...] = tuple(attack for module in MODULES for attack in module.ATTACKS)
