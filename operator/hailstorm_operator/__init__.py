"""The operator: it scales services, and keeps the record of what was rolled out and how."""
