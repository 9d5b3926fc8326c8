"""The command `holdfast`: parses arguments, calls the Python API, prints. It knows nothing the API does not."""
