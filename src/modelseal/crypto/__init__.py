"""Key handles over ``cryptography``: signing, verifying, HPKE. Pure but for the randomness that
generating, signing and sealing draw from the operating system; pure rooms get handles as arguments.
"""
