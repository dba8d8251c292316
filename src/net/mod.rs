//! Sockets: group membership, batch send (`sendmmsg`, UDP GSO, fallbacks), batch receive (`recvmmsg`,
//! UDP GRO), pacing, interfaces, `/proc/net/igmp`. Knows packets as bytes, not what is in them.

mod group;
pub mod interface;
mod receiver;
mod sender;
#[allow(unreachable_pub)]
mod sys;

pub use group::{
    BufferGrant, GroupError, ReceiveOptions, ReceiveSocket, SendOptions, SendSocket,
    is_network_down,
};
pub use interface::{Interface, InterfaceError, Link};
pub use receiver::{Batch, BatchReceiver, MAX_WAIT};
pub use sender::{BatchSender, SendError, Sent};
