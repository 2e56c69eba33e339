"""What the layer identity gives: attribution, robustness, the tropical limit, rates."""
