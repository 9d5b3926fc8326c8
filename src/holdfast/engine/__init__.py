"""The write protocol: the one room that knows that A must be durable before B."""
