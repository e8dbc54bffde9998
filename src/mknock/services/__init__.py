"""The verbs: each changes state in one transaction."""
