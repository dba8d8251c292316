//! The streams found on this network by announcements and by DNS-SD, each of them once. What only
//! DNS-SD knows is called a camera.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tracing::debug;

use crate::announced::Announced;
use crate::clock::Mono;
use crate::dns_sd::{Browser, Service};
use crate::rtp::sap::{self, Listing, What};

/// A service may be that of a stream which has not been announced yet: lancam announces each about
/// every 2 s.
const SETTLED: Duration = Duration::from_secs(3);

/// A camera that is served by RTSP only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Camera {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) from: IpAddr,
    pub(super) interface: String,
}

/// What comes and goes.
pub(super) enum Change {
    Stream(sap::Change),
    Camera(What, Camera),
}

pub(super) struct Found {
    announced: Announced,
    /// `None` if DNS-SD cannot be received.
    browser: Option<Browser>,
    /// The cameras that are certain, from which [`Found::receive`] derives the changes.
    cameras: Vec<Camera>,
}

impl Found {
    /// Listens on all interfaces, or on the one with this name or address.
    ///
    /// # Errors
    /// There is no such interface, or nothing can be received.
    pub(super) fn open(interface: Option<&str>) -> Result<Found> {
        let announced = Announced::open(interface)?;
        let browser = Browser::open(interface);
        let browser = browser.inspect_err(|e| debug!("cannot look for services by DNS-SD: {e}"));
        Ok(Found {
            announced,
            browser: browser.ok(),
            cameras: Vec::new(),
        })
    }

    /// Waits for news, at most `wait`; returns the changes.
    ///
    /// # Errors
    /// The kernel refused to wait.
    pub(super) fn receive(&mut self, wait: Duration) -> Result<Vec<Change>> {
        let changes = self.announced.receive(wait)?.into_iter();
        let mut changes: Vec<Change> = changes.map(Change::Stream).collect();
        if let Some(browser) = &mut self.browser {
            browser.receive()?;
            let now = Mono::now();
            let cameras = self.cameras_if(|service| now.since(service.since) >= SETTLED);
            changes.extend(differences(&self.cameras, &cameras));
            self.cameras = cameras;
        }
        Ok(changes)
    }

    /// The announced streams.
    pub(super) fn streams(&self) -> &[Arc<Listing>] {
        self.announced.directory().streams()
    }

    /// The cameras, which are served by RTSP and not announced.
    pub(super) fn cameras(&self) -> Vec<Camera> {
        self.cameras_if(|_| true)
    }

    /// The cameras that are certain, since they have been there long enough.
    pub(super) fn settled_cameras(&self) -> &[Camera] {
        &self.cameras
    }

    /// The RTSP address of an announced stream.
    pub(super) fn url_of(&self, listing: &Listing) -> Option<String> {
        let directory = self.browser.as_ref()?.directory();
        let mut services = directory.services();
        services.find(|service| is_of(service, listing))?.url()
    }

    /// See [`sap::Directory::longest_interval`].
    pub(super) fn longest_interval(&self) -> Duration {
        self.announced.directory().longest_interval()
    }

    /// Announcements for which there was no room.
    pub(super) fn turned_away(&self) -> u64 {
        let services = self
            .browser
            .as_ref()
            .map_or(0, |b| b.directory().turned_away());
        self.announced.directory().turned_away() + services
    }

    fn cameras_if(&self, is_wanted: impl Fn(&Service) -> bool) -> Vec<Camera> {
        let Some(browser) = &self.browser else {
            return Vec::new();
        };
        let is_announced = |service: &Service| self.streams().iter().any(|l| is_of(service, l));
        let services = browser.directory().services();
        let alone = services.filter(|service| is_wanted(service) && !is_announced(service));
        let camera = |service: &Service| {
            Some(Camera {
                name: service.name.clone(),
                url: service.url()?,
                from: service.addresses.first()?.ip(),
                interface: browser.interface(service),
            })
        };
        alone.filter_map(camera).collect()
    }
}

/// Whether the service belongs to an announced stream.
fn is_of(service: &Service, listing: &Listing) -> bool {
    service.is_stream(&listing.stream.name, listing.from)
}

fn differences(before: &[Camera], after: &[Camera]) -> Vec<Change> {
    let named = |all: &[Camera], name: &str| all.iter().any(|camera| camera.name == name);
    let mut changes = Vec::new();
    for camera in before.iter().filter(|camera| !named(after, &camera.name)) {
        changes.push(Change::Camera(What::Gone, camera.clone()));
    }
    for camera in after.iter().filter(|camera| !before.contains(camera)) {
        let what = match named(before, &camera.name) {
            true => What::Changed,
            false => What::Appeared,
        };
        changes.push(Change::Camera(what, camera.clone()));
    }
    changes
}
