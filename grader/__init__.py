"""The judge: makes the stubs from the solutions and checks what learners write in them."""
