//! The status page: a stream's state, figures and pictures, by HTTP/1.1 (RFC 9112) for browsers,
//! phones and Prometheus. It runs on a thread of its own and sees only what is on the [`Board`]:
//! counters read once a second, and pictures that it asked for ([`preview::Preview`]). A flood of
//! visitors hurts only visitors.
//!
//! Not a web server: a handful of exact paths, GET and HEAD, no files, and nothing that changes
//! anything.

mod access;
mod board;
mod body;
mod feeds;
mod guesses;
mod limits;
mod metrics;
pub mod preview;
mod respond;
mod server;

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::Notify;
use tracing::{info, warn};

pub use board::{Board, Role, Scene, VisitorSnapshot, VisitorStats};
pub use server::StatusError;

use crate::config::Status;

/// The running page. It ends when dropped.
#[derive(Debug)]
pub struct Page {
    settings: Status,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Page {
    /// Listens, if `settings` ask for it, and logs where.
    ///
    /// # Errors
    /// It cannot listen on the address.
    pub fn start(settings: &Status, board: &Arc<Board>) -> Result<Option<Page>, StatusError> {
        let Status::On {
            listen,
            token,
            embed,
        } = settings
        else {
            return Ok(None);
        };
        let stop = Arc::new(Notify::new());
        let server =
            server::Server::listen(*listen, token.clone(), embed.clone(), Arc::clone(board))?;
        let address = server.address();
        info!("status page: http://{address}/");
        if token.is_none() && !address.ip().is_loopback() {
            info!(
                "everyone who can reach this host can see the page: a token would keep strangers out"
            );
        }
        let asked_to_stop = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("lancam-status".to_owned())
            .spawn(move || server.run(&asked_to_stop))
            .map_err(StatusError::Start)?;
        Ok(Some(Page {
            settings: settings.clone(),
            stop,
            thread: Some(thread),
        }))
    }

    /// The page as `settings` ask for it now. A failure is logged and stops nothing else.
    pub fn follow(page: Option<Page>, settings: &Status, board: &Arc<Board>) -> Option<Page> {
        if page.as_ref().map_or(&Status::Off, |page| &page.settings) == settings {
            return page;
        }
        drop(page);
        Page::start(settings, board).unwrap_or_else(|error| {
            warn!("{error}; going on without");
            None
        })
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already; in a release build it has ended the process.
            drop(thread.join());
        }
    }
}
