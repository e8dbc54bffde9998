"""Where the parts meet: the only package that knows all of them, and (with cli) that reads settings."""
