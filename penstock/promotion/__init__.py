"""What may trade: criteria with thresholds, the gate that collects their verdicts, and aliases."""
