"""Histories of git repositories: into the store, and the history of a store as a git repository.

import: walk.py, differences.py (commits, what they touch) → loading.py, texts.py (contents) → landing.py (changes) →
importing.py.
export: telling.py and native.py (which commits there are to be) → feed.py (fast-import) → exporting.py.
Between the two stands record.py: what the store keeps of a history beyond files and revisions (docs/design/026).
"""
