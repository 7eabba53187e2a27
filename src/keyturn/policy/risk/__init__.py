"""Scores how much could go wrong with a planned request: one small part per file, pure.

A part is a function from the evidence to a level of 0 to 100 and the sentences that say why. Its weight is how many
points of the score it gives at level 100; a weight of 0 turns it off, and it is not even looked at.

The score, the lists that ship and the shapes of credentials are what recorded decisions follow from: with others, old
decisions would no longer be derived as they were taken.
"""
