"""What the demo, the tests and the bench run: Envoy with the filter, a provider, a browser made of code."""
