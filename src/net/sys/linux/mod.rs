//! Linux: batches by `sendmmsg` and `recvmmsg` with UDP GSO and GRO, socket options, netlink, the
//! scheduler.

mod batch;
mod clock;
mod errors;
mod interfaces;
mod memberships;
mod options;
mod thread;
mod wait;
mod watch;

pub use batch::{MAX_SEGMENTS, Outgoing, ReceiveArrays, SegmentSize, SendArrays};
pub use clock::{clock_state, make_timers_precise, sleep_until};
pub use errors::{is_network_down, is_out_of_room, is_payload_gone, may_refuse_segmentation};
pub use interfaces::interfaces;
pub use memberships::memberships;
pub use options::{
    coalesce_received, force_receive_buffer, hear_joined_only, send_on_link, set_membership,
    set_multicast_interface_v4, set_unicast_interface,
};
pub use thread::{allowed_cores, lock_memory, pin_to, set_nice, set_realtime};
pub use wait::{Bell, BellRope, any_readable, readable, receive_from};
pub use watch::NetworkWatch;
