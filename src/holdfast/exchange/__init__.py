"""The store in other shapes: what somebody else reads or writes."""
