"""The saddle point between Hopf's and Lax's formulas, found at one point in any dimension."""
