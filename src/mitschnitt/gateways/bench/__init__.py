"""What the performance figures are made with; runs after installation, measures, and decides nothing."""
