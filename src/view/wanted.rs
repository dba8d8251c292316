//! The stream to watch, as it is known before its packets come: a group, what an SDP says, or what is announced.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::announced::can_show;
use crate::net::ReceiveOptions;
use crate::rtp::Options;
use crate::rtp::repair;
use crate::rtp::sap::{Directory, Listing};
use crate::rtp::sdp::{self, StreamDescription};
use crate::rtp::source::AnnouncedSource;

/// Read of an SDP file; one byte more than is allowed, so that a longer one is refused, not cut.
const MOST_SDP_BYTES: u64 = sdp::MAX_LEN as u64 + 1;

/// The stream to watch, as far as it is known beforehand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) receive: ReceiveOptions,
    /// Port of the repair packets, where another than the usual one.
    pub(super) repair_port: Option<u16>,
    /// The stream's TTL, where that is known.
    pub(super) ttl: Option<u8>,
    pub(crate) options: Options,
    /// The session description that it was found by.
    pub(super) sdp: Option<String>,
}

impl Wanted {
    /// Whatever comes to `group`.
    pub(crate) fn group(group: SocketAddr) -> Wanted {
        Wanted {
            name: group.to_string(),
            receive: ReceiveOptions::new(group),
            repair_port: None,
            ttl: None,
            options: Options::default(),
            sdp: None,
        }
    }

    /// What an SDP file describes.
    ///
    /// # Errors
    /// The file cannot be read, or describes no stream that can be shown.
    pub(crate) fn of_file(path: &Path) -> Result<Wanted> {
        let text = read_sdp(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let stream = StreamDescription::parse(&text)
            .with_context(|| format!("{} is no SDP that describes a stream", path.display()))?;
        let wanted = described(stream).with_context(|| path.display().to_string())?;
        Ok(Wanted {
            sdp: Some(String::from_utf8_lossy(&text).into_owned()),
            ..wanted
        })
    }

    /// Where its repair packets are heard; `None` where no port is left for them.
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
    std::fs::File::open(path)?
        .take(MOST_SDP_BYTES)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// What to open for a stream that an SDP describes.
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
    })
}

/// What to open for an announced stream: on the interface that its announcements come in on, from who announces it.
///
/// # Errors
/// It cannot be shown here.
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
