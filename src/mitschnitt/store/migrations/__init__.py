"""How the domain database came to its shape, step by step (Alembic). Steps are never changed once released."""
