"""For tests, ours and those of third parties: conformance suites, oracles, faults. Nothing else imports it."""
