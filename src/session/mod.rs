//! What a session is, and its bytes: MessagePack, LZ4, AES, tickets. Knows no HTTP and no Redis.
