"""How things look as bytes: bytes ⇄ values, one module for each chapter of store-layout.md. Pure."""
