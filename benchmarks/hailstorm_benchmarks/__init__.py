"""What the benchmarks share: figures and their verdicts, load, stores, the machine."""
