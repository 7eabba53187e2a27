"""People's signatures: sign through `ssh-keygen`, verify in Python.

`verify` is pure: bytes in, the signing key or a `SignatureError` out. Signing needs a person's key, agent or
token, so it lives in `keyturn.sshsig.signing` and runs OpenSSH's own program.
"""

from keyturn.sshsig.envelope import SignatureError, armor, unarmor
from keyturn.sshsig.verification import Signer, verify

__all__ = ["SignatureError", "Signer", "armor", "unarmor", "verify"]
