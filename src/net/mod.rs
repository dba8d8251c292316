//! Sockets: group membership, batch send (`sendmmsg`, UDP GSO, fallbacks), batch receive (`recvmmsg`,
//! UDP GRO), pacing, interfaces, `/proc/net/igmp`. Knows packets as bytes, not what is in them.
