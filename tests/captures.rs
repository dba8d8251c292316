//! What other senders really put on the wire: captures of GStreamer and ffmpeg, packet by packet,
//! come out of the depacketizer as exactly the scans that went in. See
//! tests/data/captures/README.md.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lancam::jpeg::header::Header;
use lancam::jpeg::split::next_jpeg;
use lancam::rtp::{Depacketizer, Event, Options, ReceivedFrame};
use lancam::stats::ViewerStats;

#[path = "common/capture.rs"]
mod capture;
use capture::{datagrams, read};

/// Where all packets come from.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Frames of an MJPEG file: header facts and scan.
fn check(name: &str) {
    let file = read(&format!("{name}.mjpeg"));
    let mut sent = Vec::new();
    let mut from = 0;
    while let Some(range) = next_jpeg(&file, from) {
        sent.push(&file[range.clone()]);
        from = range.end;
    }
    assert_eq!(sent.len(), 6, "{name}");

    let stats = Arc::new(ViewerStats::default());
    let mut depacketizer = Depacketizer::new(Options::default(), stats.clone());
    let mut got = 0;
    for (now, datagram) in datagrams(name) {
        depacketizer.push(now, HERE, &datagram);
        while let Some(event) = depacketizer.poll(now) {
            let frame = match event {
                Event::Frame(ReceivedFrame::Jpeg(frame)) => frame,
                Event::Source(_) => continue,
                other => panic!("{name}: {other:?}"),
            };
            let original = Header::parse(sent[got]).unwrap();
            let rebuilt = Header::parse(frame.jpeg()).unwrap();
            let scan = &sent[got][original.scan_start..];
            assert_eq!(
                &frame.jpeg()[rebuilt.scan_start..],
                scan,
                "{name}, frame {got}"
            );
            for table in 0..2 {
                let narrowed = |h: &Header<'_>| h.quant(table).unwrap().narrowed();
                assert_eq!(narrowed(&rebuilt), narrowed(&original));
            }
            assert_eq!(rebuilt.restart_interval, original.restart_interval);
            // Neither of them tells sizes that are no multiple of 8.
            assert_eq!(rebuilt.width, original.width.next_multiple_of(8));
            assert_eq!(rebuilt.height, original.height.next_multiple_of(8));
            got += 1;
            depacketizer.recycle(frame);
        }
    }
    assert_eq!(got, 6, "{name}");
    let stats = stats.snapshot();
    assert_eq!((stats.frames_whole, stats.frames_lost), (6, 0));
    assert_eq!(
        (
            stats.packets_lost,
            stats.packets_invalid,
            stats.packets_late
        ),
        (0, 0, 0)
    );
}

#[test]
fn gstreamer_422() {
    check("gst-422");
}

#[test]
fn gstreamer_422_with_restart_markers() {
    check("gst-422-dri");
}

#[test]
fn gstreamer_420_of_an_odd_size() {
    check("gst-420-odd");
}

#[test]
fn ffmpeg_422() {
    check("ffmpeg-422");
}

#[test]
fn ffmpeg_420() {
    check("ffmpeg-420");
}

#[test]
fn an_odd_size_from_the_sdp_crops_gstreamers_picture() {
    let options = Options {
        size: Some((322, 242)),
        ..Options::default()
    };
    let mut depacketizer = Depacketizer::new(options, Arc::default());
    let mut sizes = Vec::new();
    for (now, datagram) in datagrams("gst-420-odd") {
        depacketizer.push(now, HERE, &datagram);
        while let Some(event) = depacketizer.poll(now) {
            if let Event::Frame(ReceivedFrame::Jpeg(frame)) = event {
                sizes.push((frame.width(), frame.height()));
            }
        }
    }
    assert_eq!(sizes, [(322, 242); 6]);
}
