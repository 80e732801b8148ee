"""What a TPM's bytes mean. Pure: bytes in, value or ``EvidenceInvalid`` out.

References are to the TCG's "Trusted Platform Module Library", revision 1.59, parts 1 to 3.
"""
