"""The learners' repository: written, proved to hold no solution, brought up to date."""
