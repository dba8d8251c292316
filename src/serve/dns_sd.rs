//! Advertises the running servers by DNS-SD.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::board::Board;
use crate::dns_sd::{DnsSd, Facts};
use crate::host;

/// How often to check for changes.
const LOOK: Duration = Duration::from_secs(1);

/// Advertises the streams on the board under the machine's current name, until it is dropped.
pub(super) async fn advertise(
    board: Arc<Board>,
    page: Option<SocketAddr>,
    rtsp: Option<SocketAddr>,
) {
    let mut known = Facts::default();
    let mut running: Option<DnsSd> = None;
    loop {
        let facts = facts(&board, page, rtsp);
        if facts != known {
            known = facts.clone();
            running = match running {
                _ if facts.is_nothing() => None,
                Some(running) => {
                    running.follow(facts);
                    Some(running)
                }
                None => match DnsSd::start(facts) {
                    Ok(started) => Some(started),
                    Err(error) => {
                        warn!("nothing is announced by DNS-SD: {error}");
                        return;
                    }
                },
            };
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn facts(board: &Board, page: Option<SocketAddr>, rtsp: Option<SocketAddr>) -> Facts {
    let contents = board.contents();
    let streams = contents.report.streams.iter();
    Facts {
        host: host::name(),
        rtsp,
        streams: streams.map(|stream| stream.name.clone()).collect(),
        page,
    }
}
