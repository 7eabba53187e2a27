"""Evidence without storage: entry, chain, commitment, receipt; bytes in, verdict out."""
