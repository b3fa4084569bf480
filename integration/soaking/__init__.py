"""Tracked sessions that end while requests go on: see integration/soak.py."""
