//! One client that takes the stream by UDP: frames and reports out, reports in.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::shared::{Client, Shared, lock};
use super::sockets::{ClientSockets, poll_report};
use crate::board::{Shot, Watcher};
use crate::clock::{Mono, Ntp};
use crate::rtsp::Flow;
use crate::rtsp::server::{Play, SessionId};

/// How long to wait when the kernel has no room.
const PAUSE: Duration = Duration::from_millis(1);
/// The rest of a frame that takes longer is left out: the next ones must not be late too.
const MOST_TIME: Duration = Duration::from_millis(100);

/// Begins to send by UDP.
pub(super) fn play(shared: &Arc<Shared>, play: Play) {
    let (Some(Client::Ready(sockets)), Some(watcher)) = (
        lock(&shared.clients).remove(&play.session),
        shared.watch(&play.stream),
    ) else {
        return lock(&shared.server).end(play.session);
    };
    info!("RTSP: {} by UDP to {}", play.stream, sockets.to());
    let (stop, stopped) = oneshot::channel();
    let session = play.session;
    let pump = Pump {
        shared: Arc::clone(shared),
        session,
        flow: play.flow,
        sockets,
        watcher,
        stop: stopped,
    };
    let task = tokio::spawn(pump.run());
    lock(&shared.clients).insert(session, Client::Playing { stop, task });
}

/// What sends to one client.
struct Pump {
    shared: Arc<Shared>,
    session: SessionId,
    flow: Flow,
    sockets: Box<ClientSockets>,
    watcher: Watcher,
    stop: oneshot::Receiver<()>,
}

enum Event {
    Frame(Option<Arc<Shot>>),
    Report,
    Stop { says_bye: bool },
}

impl Pump {
    /// Sends until it is stopped or the stream ends.
    async fn run(mut self) -> (Flow, Box<ClientSockets>) {
        loop {
            match self.event().await {
                Event::Frame(Some(shot)) => self.send(&shot).await,
                Event::Frame(None) => {
                    lock(&self.shared.server).end(self.session);
                    self.bye();
                    self.shared.stop(self.session);
                    break;
                }
                Event::Report => lock(&self.shared.server).alive(Mono::now(), self.session),
                Event::Stop { says_bye } => {
                    if says_bye {
                        self.bye();
                    }
                    break;
                }
            }
        }
        (self.flow, self.sockets)
    }

    async fn event(&mut self) -> Event {
        let (rtcp, stop) = (&self.sockets.rtcp, &mut self.stop);
        let client = self.sockets.reports_to.ip();
        let mut frame = pin!(self.watcher.next());
        poll_fn(|context| {
            if let Poll::Ready(stopped) = Pin::new(&mut *stop).poll(context) {
                let says_bye = stopped.is_ok();
                return Poll::Ready(Event::Stop { says_bye });
            }
            if poll_report(rtcp, client, context).is_ready() {
                return Poll::Ready(Event::Report);
            }
            frame.as_mut().poll(context).map(Event::Frame)
        })
        .await
    }

    async fn send(&mut self, shot: &Shot) {
        let stats = &self.shared.board.rtsp;
        let picture = shot.picture();
        let wall = Ntp::from(shot.captured.to_wall());
        let Ok(plan) = self.flow.frame(&picture, shot.captured, wall) else {
            return stats.frames_skipped.add(1);
        };
        let (count, until) = (plan.packets.len(), Instant::now() + MOST_TIME);
        let mut done = 0;
        while done < count {
            let packets = plan.packets(done..count, picture.scan);
            match self.sockets.rtp.send(packets) {
                Ok(sent) => {
                    done += sent.packets;
                    stats.packets_sent.add(sent.packets as u64);
                    stats.bytes_sent.add(sent.bytes as u64);
                }
                Err(error) => {
                    debug!("RTSP: {error}");
                    break;
                }
            }
            if done < count && Instant::now() >= until {
                break;
            }
            if done < count {
                sleep(PAUSE).await;
            }
        }
        match done == count {
            true => stats.frames_sent.add(1),
            false => stats.frames_skipped.add(1),
        }
        let now = Mono::now();
        if let Some(report) = self.flow.report(now, Ntp::from(now.to_wall())) {
            self.sockets.send_report(&report);
        }
    }

    fn bye(&self) {
        let now = Mono::now();
        let bye = self.flow.bye(now, Ntp::from(now.to_wall()));
        self.sockets.send_report(&bye);
    }
}
