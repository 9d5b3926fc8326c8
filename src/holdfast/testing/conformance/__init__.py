"""What a backend that somebody else writes is held to: classes to subclass, with a factory; see docs/backends.md."""
