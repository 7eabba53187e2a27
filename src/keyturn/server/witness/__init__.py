"""A witness over HTTP: `POST /add-checkpoint` of C2SP tlog-witness, a program of its own."""
