//! Sockets: group membership, batch send (`sendmmsg`, UDP GSO, fallbacks), batch receive
//! (`recvmmsg`, UDP GRO), pacing, interfaces, memberships, this machine's limits and clock. It
//! treats packets as plain bytes.

mod changes;
pub mod choice;
mod client;
mod group;
pub mod host;
pub mod interface;
mod listener;
pub mod pacing;
mod receiver;
mod rtcp;
mod sender;
// Public items of a private module, so that they can be used all over `net` and nowhere else.
#[allow(unreachable_pub)]
mod sys;
pub mod thread;
pub mod visitor;

pub use changes::Changes;
pub use client::client_sockets;
pub use group::{BufferGrant, GroupError, ReceiveOptions, ReceiveSocket, SendOptions, SendSocket};
pub use interface::{Interface, InterfaceError, Link};
pub use listener::{ListenError, Listener};
pub use pacing::{BurstPlan, Load, Pacer, Pacing, schedule};
pub use receiver::{Batch, BatchReceiver, MAX_WAIT, has_datagram, readable};
pub use rtcp::{ReportOptions, ReportSocket};
pub use sender::{BatchSender, SendError, Sent};
pub use sys::{Bell, BellRope, Member, is_network_down, memberships};
