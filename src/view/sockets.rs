//! A viewer's two sockets, for media and repair, read by one thread. Without repair the second
//! costs one system call per 100 ms; with repair, one more per wake-up.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tracing::{debug, info};

use crate::clock::Mono;
use crate::net::{BatchReceiver, Changes, GroupError, ReceiveOptions, ReceiveSocket, readable};
use crate::rtp::Ssrc;

/// How often to check the repair socket while nothing arrives there.
const LOOK: Duration = Duration::from_millis(100);
/// After this long without repair, none is expected.
const QUIET: Duration = Duration::from_secs(2);

/// Which sockets to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) repair: bool,
    /// How long reading the stream's packets may wait; `None`: do not read them.
    pub(super) media: Option<Duration>,
}

/// The stream's socket and, if it could be opened, the one for its repair packets.
pub(super) struct Sockets {
    pub(super) media: BatchReceiver,
    repair: Option<BatchReceiver>,
    /// `None`: there is no such port.
    wanted_repair: Option<ReceiveOptions>,
    ssrc: Option<Ssrc>,
    /// Both sockets are polled until then.
    both_until: Mono,
    /// Parity is expected until then.
    parity_until: Mono,
    /// Parity counts as arriving until then.
    received_until: Mono,
    look_at: Mono,
    changes: Changes,
    /// The argument of the last [`Sockets::refresh`].
    works: bool,
    /// Nothing is left to retry.
    is_settled: bool,
}

impl Sockets {
    /// Opens the repair socket beside `media`; without one, nothing is repaired.
    pub(super) fn new(media: ReceiveSocket, wanted_repair: Option<ReceiveOptions>) -> Sockets {
        let mut sockets = Sockets {
            media: BatchReceiver::new(media),
            repair: None,
            wanted_repair,
            ssrc: None,
            // Repair may follow the first frame.
            both_until: Mono(u64::MAX),
            parity_until: Mono(u64::MAX),
            received_until: Mono(0),
            look_at: Mono(0),
            changes: Changes::new(),
            works: false,
            is_settled: false,
        };
        if let Some(Err(error)) = sockets.open_repair() {
            info!("without repair of lost packets: {error}");
        }
        sockets
    }

    /// `None`: there is no port to open.
    fn open_repair(&mut self) -> Option<Result<(), GroupError>> {
        let opened = ReceiveSocket::open_on(self.wanted_repair.as_ref()?, Some(self.interface()));
        Some(opened.map(|socket| self.repair = Some(BatchReceiver::new(socket))))
    }

    /// Whether parity arrives, or may.
    pub(super) fn expects_parity(&self, now: Mono) -> bool {
        self.repair.is_some() && now < self.parity_until
    }

    /// Whether parity has arrived lately.
    pub(super) fn receives_parity(&self, now: Mono) -> bool {
        self.repair.is_some() && now < self.received_until
    }

    /// Notes that parity arrived.
    pub(super) fn received_parity(&mut self, now: Mono) {
        self.both_until = now + QUIET;
        self.parity_until = now + QUIET;
        self.received_until = now + QUIET;
    }

    /// Notes that packets were requested or retransmitted.
    pub(super) fn expect_answers(&mut self, now: Mono) {
        self.both_until = self.both_until.max(now + QUIET);
    }

    /// Notes the source followed; a new one may send repair.
    pub(super) fn follow(&mut self, now: Mono, ssrc: Option<Ssrc>) {
        if self.ssrc != ssrc {
            self.ssrc = ssrc;
            self.both_until = now + QUIET;
            self.parity_until = now + QUIET;
            self.received_until = Mono(0);
        }
    }

    /// Waits up to `wait` for something to read.
    ///
    /// # Errors
    /// The system call failed.
    pub(super) fn wait(&mut self, now: Mono, wait: Duration) -> io::Result<Ready> {
        let Some(repair) = self.repair.as_ref().filter(|_| now < self.both_until) else {
            // Reading the stream's socket does the waiting.
            let look = now >= self.look_at;
            if look {
                self.look_at = now + LOOK;
            }
            return Ok(Ready {
                repair: look,
                media: Some(wait),
            });
        };
        // Reading a socket returns its errors.
        let [media, repair] = readable([self.media.socket(), repair.socket()], wait)?;
        Ok(Ready {
            repair,
            media: media.then_some(Duration::ZERO),
        })
    }

    /// Reads the repair socket; if that fails, it is closed, and [`Sockets::refresh`] reopens it.
    pub(super) fn read_repair(&mut self, mut each: impl FnMut(IpAddr, &[u8])) {
        let Some(socket) = &mut self.repair else {
            return;
        };
        match socket.receive(Some(Duration::ZERO)) {
            Ok(batch) => batch
                .datagrams()
                .for_each(|(from, datagram)| each(from.ip(), datagram)),
            Err(error) => {
                debug!("cannot receive repair packets: {error}");
                self.repair = None;
                self.is_settled = false;
            }
        }
    }

    /// The interface's index.
    pub(super) fn interface(&self) -> u32 {
        self.media.socket().interface().index
    }

    /// Rejoins both groups where the interface has changed, and retries what failed. One system
    /// call if the network has not changed. `works`: frames are arriving, so stay on this
    /// interface.
    pub(super) fn refresh(&mut self, works: bool) {
        let is_same = !self.changes.any() && self.works == works;
        if is_same && self.is_settled {
            return;
        }
        self.works = works;
        self.is_settled = true;
        let media = self.media.socket_mut();
        match media.refresh(works) {
            Ok(false) => {}
            Ok(true) => info!(
                "joined {} again on {}",
                media.group(),
                media.interface().name
            ),
            Err(error) => self.trouble(&error),
        }
        let repair = match &mut self.repair {
            Some(repair) => repair.socket_mut().refresh(works).map(|_| ()),
            None => self.open_repair().unwrap_or(Ok(())),
        };
        if let Err(error) = repair {
            self.trouble(&error);
        }
    }

    fn trouble(&mut self, error: &GroupError) {
        self.is_settled = false;
        debug!("{error}");
    }
}
