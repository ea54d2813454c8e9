"""A rough ear for the mood of a text, made of words alone: good enough to count with."""

GLAD = """
    happy happily glad smile smiled smiling laugh laughed laughing joy fun love loved lovely hug
    hugged hugs danced dance clapped cheered proud best safe warm friends friend together thank
    thanked wonderful well better kind
"""
SAD = """
    sad sadly cry cried crying tear tears alone lonely lost gone dead died broke broken fell hurt
    afraid scared cold worst worse weak angry shouted frown never nobody empty ill sank burnt torn
    pain sorry away
"""
GLAD_WORDS, SAD_WORDS = frozenset(GLAD.split()), frozenset(SAD.split())


def mood(text: str) -> int:
    """Glad words minus sad words."""
    words = "".join(c if c.isalpha() else " " for c in text.lower()).split()
    return sum(word in GLAD_WORDS for word in words) - sum(word in SAD_WORDS for word in words)
