"""The source documents, as claims cite them."""

THEORY = "J. M. A. Minoza, E. F. Legara, C. Monterola, The Hamilton-Jacobi Theory of Deep Learning, arXiv 2605.28983"
BULK_BOUNDARY = "D. Lee, H.-S. Lee, J. Yi, bulk-boundary decomposition of neural networks, arXiv 2511.02003"
SYNAPTIC = "D. Lee, H.-S. Lee, J. Yi, synaptic field theory for neural networks, arXiv 2503.08827"
EMERGENT = "V. Vanchurin, Emergent field theories from neural networks, arXiv 2411.08138"
RANDOM_NETWORKS = "M. Winer, B. Hanin, Deep Neural Nets as Hamiltonians, Phys. Rev. E 113, 015303, arXiv 2503.23982"
