"""Knock's own pages, for people: rendered here, readable without JavaScript, and asking nobody else."""
