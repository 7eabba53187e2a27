"""Evidence: what leaves a ledger to be checked elsewhere, as bundles, single actions, and exports for other tools."""
