"""What things are: frozen, pure values. No input or output, no third party."""
