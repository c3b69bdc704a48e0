"""How `diagnose` comes to its findings: evidence, which rules judge, and which a report shows."""
