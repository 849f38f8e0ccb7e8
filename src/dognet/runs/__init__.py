"""A run: its typed values, the folder that holds it, and the digest that names its result."""
