"""What runs on a schedule. A flow reads like the steps of the runbook."""
