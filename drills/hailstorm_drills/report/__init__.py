"""The report: one HTML file with pictures, that opens without a network."""
