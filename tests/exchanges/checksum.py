"""CRC32C bit by bit, as RFC 7143 section 13.1 describes it: a second opinion on what goes over the wire."""


def crc32c(data: bytes) -> bytes:
    """The digest of ``data`` as it is sent."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return (register ^ 0xFFFFFFFF).to_bytes(4, "little")
