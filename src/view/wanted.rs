//! What is known of a stream before its packets arrive: a group, an SDP file, or an announcement.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use super::plan::{OnLoss, ViewPlan};
use crate::announced::can_show;
use crate::files;
use crate::net::ReceiveOptions;
use crate::rtp::Options;
use crate::rtp::repair;
use crate::rtp::sap::{Directory, Listing};
use crate::rtp::sdp::{self, StreamDescription};
use crate::rtp::source::AnnouncedSource;

/// Bytes read of an SDP file: one more than allowed, so that a longer file is rejected, not cut.
const MOST_SDP_BYTES: u64 = sdp::MAX_LEN as u64 + 1;

/// The stream to watch, as known beforehand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) receive: ReceiveOptions,
    /// Port of the repair packets, if not the usual one.
    pub(super) repair_port: Option<u16>,
    /// The stream's TTL, if known.
    pub(super) ttl: Option<u8>,
    pub(crate) options: Options,
    /// The session description it was found by.
    pub(super) sdp: Option<String>,
    /// How often the user has chosen another stream before.
    pub(super) choice: u32,
}

impl Wanted {
    /// Whatever is sent to `group`.
    pub(crate) fn group(group: SocketAddr) -> Wanted {
        Wanted {
            name: group.to_string(),
            receive: ReceiveOptions::new(group),
            repair_port: None,
            ttl: None,
            options: Options::default(),
            sdp: None,
            choice: 0,
        }
    }

    /// Applies the user's settings.
    pub(super) fn settle(&mut self, config: &ViewPlan) {
        if config.interface.is_some() {
            self.receive.interface.clone_from(&config.interface);
        }
        self.options.give_partial = config.on_loss == OnLoss::Conceal;
        self.options.late = config.late;
        if let Some(name) = &config.name {
            self.name.clone_from(name);
        }
    }

    /// What an SDP file describes.
    ///
    /// # Errors
    /// The file cannot be read, or describes no stream lancam can show.
    pub(crate) fn of_file(path: &Path) -> Result<Wanted> {
        let text = read_sdp(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let stream = StreamDescription::parse(&text).with_context(|| {
            format!(
                "{} is not an SDP file that describes a stream",
                path.display()
            )
        })?;
        let wanted = described(stream).with_context(|| path.display().to_string())?;
        Ok(Wanted {
            sdp: Some(String::from_utf8_lossy(&text).into_owned()),
            ..wanted
        })
    }

    /// Where its repair packets arrive; `None` if there is no such port.
    pub(crate) fn repair(&self) -> Option<ReceiveOptions> {
        let mut options = self.receive.clone();
        let usual = options.group.port().checked_add(repair::PORT_OFFSET);
        options.group.set_port(self.repair_port.or(usual)?);
        Some(options)
    }
}

fn read_sdp(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    files::open_regular(path)?
        .take(MOST_SDP_BYTES)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// What to open for a stream described by SDP.
fn described(stream: StreamDescription) -> Result<Wanted> {
    stream
        .playable
        .map_err(|why| anyhow!("the stream {:?} cannot be shown: {why}", stream.name))?;
    Ok(Wanted {
        name: stream.name,
        receive: ReceiveOptions {
            source: stream.source,
            ..ReceiveOptions::new(stream.addr)
        },
        repair_port: stream.repair_port,
        ttl: stream.ttl,
        options: Options {
            payload_type: stream.payload_type,
            size: stream.size,
            ..Options::default()
        },
        sdp: None,
        choice: 0,
    })
}

/// What to open for an announced stream: on the interface its announcements arrive on, from the
/// announcing host.
///
/// # Errors
/// lancam cannot show it.
pub(super) fn announced(listing: &Listing, directory: &Directory) -> Result<Wanted> {
    let stream = &listing.stream;
    can_show(stream)
        .map_err(|why| anyhow!("the stream {:?} cannot be shown: {why}", stream.name))?;
    let mut wanted = described(stream.clone())?;
    wanted.receive.interface = Some(listing.interface.clone());
    wanted.options.source = Some(source(listing, directory));
    Ok(wanted)
}

fn source(listing: &Listing, directory: &Directory) -> AnnouncedSource {
    let stream = &listing.stream;
    let streams = directory.streams().iter();
    let others = streams.filter(|o| o.stream.addr == stream.addr && !o.is_same(listing));
    let mut addresses = vec![listing.from];
    addresses.extend(stream.origin.filter(|&origin| origin != listing.from));
    AnnouncedSource {
        addresses,
        ssrc: stream.ssrc,
        others: others.filter_map(|o| o.stream.ssrc).collect(),
    }
}
