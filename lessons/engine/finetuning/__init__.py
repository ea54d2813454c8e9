"""What surrounds lesson 12: adapt a model that is there already to a text, or to a taste.

examples     prompts with answers, and pairs of answers: built in, or from anybody's own files
recipes      the built-in text of another subject
endings      the built-in preferences: stories that end happily, and sadly
moods        a rough ear for them
base         the model that is adapted
adapters     LoRA on chosen layers, saved alone in PEFT's layout
forms        what the trainer sees: rows of ids, their losses, DPO's reference
wishes       what a run is asked for, and its folder
tuning       the loop, which can be stopped and goes on
keeping      the state to go on from, the adapter, the model
measure      what was gained, and what was forgotten
report       both, on one page
commands     `python -m solutions.finetuning`
"""
