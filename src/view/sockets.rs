//! The two sockets of a viewer: the stream's and its repair's, heard by one thread. Where no repair comes
//! the second costs one system call in 100 ms; where it comes, one more for each waking up.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tracing::{debug, info};

use crate::clock::Mono;
use crate::net::{BatchReceiver, Changes, GroupError, ReceiveOptions, ReceiveSocket, readable};
use crate::rtp::Ssrc;

/// How often the repair socket is looked into while nothing comes there.
const LOOK: Duration = Duration::from_millis(100);
/// After so long without repair it is taken not to come.
const QUIET: Duration = Duration::from_secs(2);

/// Which sockets to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) repair: bool,
    /// The wait that reading the stream's packets is given; `None`: they are not to be read.
    pub(super) media: Option<Duration>,
}

/// The stream's socket and, if it could be opened, that of its repair packets.
pub(super) struct Sockets {
    pub(super) media: BatchReceiver,
    repair: Option<BatchReceiver>,
    /// `None`: there is no such port.
    wanted_repair: Option<ReceiveOptions>,
    ssrc: Option<Ssrc>,
    /// Both are waited for until then.
    both_until: Mono,
    /// Parity comes, or may, until then; and has come until then.
    parity_until: Mono,
    heard_until: Mono,
    look_at: Mono,
    changes: Changes,
    /// What was said when the interfaces were looked at last.
    works: bool,
    /// Nothing is left to be tried again.
    is_settled: bool,
}

impl Sockets {
    /// Listens for repair beside `media`; where that cannot be, the stream is seen without.
    pub(super) fn new(media: ReceiveSocket, wanted_repair: Option<ReceiveOptions>) -> Sockets {
        let mut sockets = Sockets {
            media: BatchReceiver::new(media),
            repair: None,
            wanted_repair,
            ssrc: None,
            // Repair may come with the first frame.
            both_until: Mono(u64::MAX),
            parity_until: Mono(u64::MAX),
            heard_until: Mono(0),
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

    /// Whether parity comes, or may.
    pub(super) fn expects_parity(&self, now: Mono) -> bool {
        self.repair.is_some() && now < self.parity_until
    }

    /// Whether parity comes.
    pub(super) fn hears_parity(&self, now: Mono) -> bool {
        self.repair.is_some() && now < self.heard_until
    }

    /// Parity has come.
    pub(super) fn heard_parity(&mut self, now: Mono) {
        self.both_until = now + QUIET;
        self.parity_until = now + QUIET;
        self.heard_until = now + QUIET;
    }

    /// Packets were asked for, or have come, again.
    pub(super) fn expect_answers(&mut self, now: Mono) {
        self.both_until = self.both_until.max(now + QUIET);
    }

    /// This sender is followed; a new one may send repair.
    pub(super) fn follow(&mut self, now: Mono, ssrc: Option<Ssrc>) {
        if self.ssrc != ssrc {
            self.ssrc = ssrc;
            self.both_until = now + QUIET;
            self.parity_until = now + QUIET;
            self.heard_until = Mono(0);
        }
    }

    /// Waits until there is something to read, at most for `wait`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn wait(&mut self, now: Mono, wait: Duration) -> io::Result<Ready> {
        let Some(repair) = self.repair.as_ref().filter(|_| now < self.both_until) else {
            // Reading the stream's socket waits by itself.
            let look = now >= self.look_at;
            if look {
                self.look_at = now + LOOK;
            }
            return Ok(Ready {
                repair: look,
                media: Some(wait),
            });
        };
        // Errors of a socket are told by reading it.
        let [media, repair] = readable([self.media.socket(), repair.socket()], wait)?;
        Ok(Ready {
            repair,
            media: media.then_some(Duration::ZERO),
        })
    }

    /// The repair socket; one that fails is closed, and opened again by [`Sockets::refresh`].
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

    /// The index of the interface.
    pub(super) fn interface(&self) -> u32 {
        self.media.socket().interface().index
    }

    /// Renews both memberships where the interface has changed. One that is away comes back. One system call when the
    /// network has not changed. `works`: pictures come, so that they stay where they are.
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
