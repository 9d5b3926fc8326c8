"""Failing tests of the kit show their values, as the plugin sees to where Holdfast is installed."""

import pytest

KIT = ("answers", "blobs", "indexes", "journals", "stores", "streams")

pytest.register_assert_rewrite(*(f"holdfast.testing.conformance.{name}" for name in KIT))
