"""Knock over HTTP."""
