"""Requests that no client sends, for a real Envoy: see integration/fuzz_envoy.py."""
