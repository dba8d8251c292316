//! The servers for visitors: the status page and ONVIF over HTTP, and RTSP ("doors" in the code).
//! One low-priority thread with one runtime serves them all. It sees only what is on the
//! [`Board`]: counters read once a second, and pictures that it asked for. A flood of visitors
//! hurts only visitors.
//!
//! The protocols themselves are in `status`, `rtsp` and `onvif`.

mod discovery;
mod dns_sd;
mod listen;
mod rtsp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tracing::{info, warn};

use self::discovery::Discovery;
use self::rtsp::Rtsp;
use crate::access::Access;
use crate::board::Board;
use crate::config::{Services, Status, Users, UsersError};
use crate::host;
use crate::net::thread;
use crate::onvif::Uuid;
use crate::status::Page;

/// Why visitors are not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Listening on the address failed.
    #[error("{door} cannot listen on {address}: {cause}; choose another address or port")]
    Listen {
        /// What was to listen there, such as "the status page".
        door: &'static str,
        /// The address that was asked for.
        address: SocketAddr,
        /// What the kernel said.
        cause: std::io::Error,
    },
    /// The kernel has no thread or descriptor left.
    #[error("visitors cannot be served: {0}")]
    Start(#[source] std::io::Error),
    /// The list of users cannot be read.
    #[error(transparent)]
    Users(#[from] UsersError),
}

/// The running thread. Dropping it ends the thread and closes all connections.
#[derive(Debug)]
pub struct Server {
    settings: Services,
    users: Users,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
    /// Answers ONVIF clients that look for cameras.
    _discovery: Option<Discovery>,
}

impl Server {
    /// Opens the doors that `settings` ask for, and logs their addresses. `None` if there are none.
    ///
    /// # Errors
    /// An address cannot be listened on, or the users cannot be read.
    pub fn start(settings: &Services, board: &Arc<Board>) -> Result<Option<Server>, ServeError> {
        if !has_doors(settings) {
            return Ok(None);
        }
        let users = settings.users.load()?;
        let access = Arc::new(Access::new(users.clone()));
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(ServeError::Start)?;
        let doors = Doors::open(settings, board, &access)?;
        let discovery = doors.page_address().filter(|_| settings.onvif);
        let discovery = discovery.and_then(discovery_of);
        let stop = Arc::new(Notify::new());
        let asked_to_stop = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("lancam-serve".to_owned())
            .spawn(move || doors.run(&runtime, &asked_to_stop))
            .map_err(ServeError::Start)?;
        Ok(Some(Server {
            settings: settings.clone(),
            users,
            stop,
            thread: Some(thread),
            _discovery: discovery,
        }))
    }

    /// Adapts the doors to changed `settings`. A failure is logged and stops nothing else.
    pub fn follow(
        server: Option<Server>,
        settings: &Services,
        board: &Arc<Board>,
    ) -> Option<Server> {
        if server.as_ref().is_some_and(|server| server.is_as(settings)) {
            return server;
        }
        drop(server);
        Server::start(settings, board).unwrap_or_else(|error| {
            warn!("{error}; going on without");
            None
        })
    }

    /// Whether it already serves what `settings` ask for, with the same users in the file.
    fn is_as(&self, settings: &Services) -> bool {
        self.settings == *settings && settings.users.load().is_ok_and(|users| users == self.users)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already; in a release build it has ended the process.
            drop(thread.join());
        }
    }
}

/// A listening socket for `door`, and the address it got.
fn listen_for(
    door: &'static str,
    address: SocketAddr,
) -> Result<(std::net::TcpListener, SocketAddr), ServeError> {
    listen::on(address).map_err(|cause| ServeError::Listen {
        door,
        address,
        cause,
    })
}

fn has_doors(settings: &Services) -> bool {
    settings.status != Status::Off || settings.rtsp.is_some()
}

/// The permanent, unique id of the ONVIF device whose page is on this port.
fn device_id(port: u16) -> Uuid {
    Uuid::LANCAM.named(&format!("{} {port}", host::identity()))
}

/// Lets ONVIF clients discover the services at `page`. If that fails, users can still type in the
/// address.
fn discovery_of(page: SocketAddr) -> Option<Discovery> {
    if page.ip().is_loopback() {
        info!(
            "ONVIF: only clients on this machine can reach the status page's address and find the camera"
        );
    }
    let started = Discovery::start(device_id(page.port()), &host::name(), page);
    started
        .inspect_err(|error| warn!("ONVIF clients cannot find this camera by themselves: {error}"))
        .ok()
}

/// The listening sockets, with what is served on each.
struct Doors {
    page: Option<(std::net::TcpListener, Page)>,
    rtsp: Option<(std::net::TcpListener, Rtsp)>,
    /// `None`: nothing is advertised.
    known: Option<Known>,
}

/// What is advertised by DNS-SD.
struct Known {
    board: Arc<Board>,
    page: Option<SocketAddr>,
    rtsp: Option<SocketAddr>,
}

impl Doors {
    fn open(
        settings: &Services,
        board: &Arc<Board>,
        access: &Arc<Access>,
    ) -> Result<Doors, ServeError> {
        let page = match &settings.status {
            Status::Off => None,
            Status::On {
                listen,
                token,
                embed,
            } => {
                let (listener, address) = listen_for("the status page", *listen)?;
                info!("status page: http://{address}/");
                if token.is_none() && access.is_open() && !address.ip().is_loopback() {
                    info!(
                        "everyone who can reach this host can see the page: a token or users would keep strangers out"
                    );
                }
                let (port, access) = (address.port(), Arc::clone(access));
                let id = settings.onvif.then(|| device_id(port));
                let page = Page::new(port, token.clone(), embed, Arc::clone(board), access, id);
                Some((listener, page))
            }
        };
        let rtsp = match settings.rtsp {
            None => None,
            Some(address) => {
                let (listener, address) = listen_for("RTSP", address)?;
                info!("RTSP: rtsp://{address}/");
                if access.is_open() && !address.ip().is_loopback() {
                    info!(
                        "everyone who can reach this host can watch by RTSP: users would keep strangers out"
                    );
                }
                Some((listener, Rtsp::new(Arc::clone(board), Arc::clone(access))))
            }
        };
        let at = rtsp.as_ref().and_then(|(l, _)| l.local_addr().ok());
        let port = at.map_or(0, |address| address.port());
        board.rtsp_port.store(port, Ordering::Relaxed);
        let known = settings.dns_sd.then(|| Known {
            board: Arc::clone(board),
            page: page.as_ref().and_then(|(l, _)| l.local_addr().ok()),
            rtsp: at,
        });
        Ok(Doors { page, rtsp, known })
    }

    /// The address of the page.
    fn page_address(&self) -> Option<SocketAddr> {
        let (listener, _) = self.page.as_ref()?;
        listener.local_addr().ok()
    }

    /// Serves until told to stop.
    fn run(self, runtime: &Runtime, stop: &Notify) {
        thread::after_others();
        runtime.block_on(async {
            if let Some((listener, page)) = self.page {
                tokio::spawn(async move { page.serve(listener).await });
            }
            if let Some(Known { board, page, rtsp }) = self.known {
                tokio::spawn(dns_sd::advertise(board, page, rtsp));
            }
            let rtsp = self.rtsp.map(|(listener, rtsp)| {
                let serving = rtsp.clone();
                tokio::spawn(async move { serving.serve(listener).await });
                rtsp
            });
            stop.notified().await;
            if let Some(rtsp) = rtsp {
                rtsp.end().await;
            }
        });
    }
}
