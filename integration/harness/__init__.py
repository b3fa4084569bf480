"""The parts that the demo, the tests and the benchmarks start: Envoy with the filter, a provider, a browser in code."""
