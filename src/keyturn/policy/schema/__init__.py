"""Describes the policy language for editors: JSON Schemas, and the tables of keys that the reference page shows.

What a key is and what it means is declared here once. The schemas of `policy.toml`, of the files that it includes and
of case files are made of these declarations, and so are the tables in `docs/reference/policy.md`. What the language
is made of (units, dimensions, operators, parts of the score) comes out of the modules that read it.

A schema knows less than the reader: it sees one file, and neither who exists nor what a tool's plan tells. It accepts
whatever the reader accepts, and refuses what is wrong in itself.
"""
