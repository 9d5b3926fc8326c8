"""The parts of the state machine that `holdfast.testing.stateful` puts together."""
