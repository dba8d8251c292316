//! Whatever the bytes of a scan are and however they arrive, cutting it does not panic, and each
//! strip that is cut is a scan that can be cut again, into itself.
//!
//! Input: one byte (4:2:0, and how many bytes are fed at once), width, height and restart interval
//! in two bytes each (big endian), the scan.
#![no_main]

use lancam::jpeg::Sampling;
use lancam::jpeg::strips::{Cutter, Shape};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [kind, w1, w0, h1, h0, i1, i0, scan @ ..] = data else {
        return;
    };
    let sampling = match kind & 1 {
        0 => Sampling::Yuv422,
        _ => Sampling::Yuv420,
    };
    let width = u16::from_be_bytes([*w1, *w0]);
    let height = u16::from_be_bytes([*h1, *h0]);
    let interval = u16::from_be_bytes([*i1, *i0]);
    let shape = Shape::new(width, height, sampling, interval);

    let mut cutter = Cutter::new(shape);
    let mut result = Ok(());
    for piece in scan.chunks(1 + usize::from(kind >> 1) * 8) {
        let before = cutter.rows();
        result = cutter.feed(piece).and_then(|()| cutter.advance());
        assert!(before <= cutter.rows() && cutter.rows() <= shape.rows());
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() && cutter.finish().is_ok() {
        assert_eq!(cutter.rows(), shape.rows());
    }

    let (mut first, mut second) = (Vec::new(), Vec::new());
    let strips: Vec<_> = shape.strips(5).collect();
    for strip in strips.iter().filter(|strip| strip.end <= cutter.rows()) {
        let height = shape.pixels(strip).len() as u16;
        first.clear();
        if strip.is_empty() {
            continue;
        }
        cutter.cut(strip.clone(), &mut first).expect("whole rows");
        let mut again = Cutter::new(Shape::new(width, height, sampling, interval));
        again.feed(&first).expect("a scan");
        again.finish().expect("all of a scan");
        assert_eq!(again.rows(), strip.len());
        second.clear();
        again.cut(0..strip.len(), &mut second).expect("whole rows");
        assert_eq!(first, second);
    }
    for seam in strips.iter().filter_map(|strip| shape.seam(strip)) {
        assert!(seam.from.end <= seam.height && seam.to.end <= usize::from(height));
        if seam.rows.end <= cutter.rows() {
            let written = cutter.write_seam(&seam, &[1; 128], &mut first);
            written.expect("whole rows");
        }
    }
});
