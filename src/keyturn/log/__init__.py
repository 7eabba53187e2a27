"""Evidence without storage: entry, chain, tree, note, checkpoint, proof; bytes in, verdict out."""
