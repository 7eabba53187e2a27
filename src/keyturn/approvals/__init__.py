"""The life of a held action: reviews, quorum, expiry, claim; pure."""
