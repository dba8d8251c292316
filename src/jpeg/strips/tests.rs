use super::*;
use crate::jpeg::Sampling;
use crate::jpeg::gate::{Gate, GateOptions};
use crate::jpeg::header::{Header, marker, scan_end};
use crate::jpeg::rebuild::write_jpeg;
use crate::jpeg::samples::{file, image};
use proptest::prelude::*;
use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, ScalingFactor, Subsamp};

/// A picture's facts and its scan, without EOI.
#[derive(Clone, Debug)]
struct Sample {
    shape: Shape,
    quant: [u8; 128],
    scan: Vec<u8>,
}

impl Sample {
    fn of(jpeg: &[u8]) -> Sample {
        let header = Header::parse(jpeg).unwrap();
        let sampling = match header.components()[0].v {
            1 => Sampling::Yuv422,
            _ => Sampling::Yuv420,
        };
        let mut quant = [0; 128];
        quant[..64].copy_from_slice(&header.quant(0).unwrap().narrowed().unwrap());
        quant[64..].copy_from_slice(&header.quant(1).unwrap().narrowed().unwrap());
        let end = scan_end(jpeg, header.scan_start).at;
        Sample {
            shape: Shape::new(
                header.width,
                header.height,
                sampling,
                header.restart_interval,
            ),
            quant,
            scan: jpeg[header.scan_start..end].to_vec(),
        }
    }

    /// A file of `tests/data/jpeg`, as a sender sends it.
    fn file(name: &str) -> Sample {
        let jpeg = file(name);
        let mut gate = Gate::new(GateOptions::default());
        let picture = gate.pass(&jpeg).unwrap();
        let mut sent = Vec::new();
        write_jpeg(&mut sent, &picture);
        Sample::of(&sent)
    }

    fn encode(pixels: &[u8], width: usize, sampling: Sampling, quality: i32) -> Sample {
        let subsamp = match sampling {
            Sampling::Yuv422 => Subsamp::Sub2x1,
            Sampling::Yuv420 => Subsamp::Sub2x2,
        };
        let mut compressor = Compressor::new().unwrap();
        compressor.set_quality(quality).unwrap();
        compressor.set_subsamp(subsamp).unwrap();
        let image = Image {
            pixels,
            width,
            pitch: width * 3,
            height: pixels.len() / width / 3,
            format: PixelFormat::RGB,
        };
        Sample::of(&compressor.compress_to_vec(image).unwrap())
    }

    /// The same blocks as a picture of other proportions, with a restart marker after each
    /// `interval` MCUs. `None` if they do not fill one.
    fn with_restarts(&self, width: u16, interval: u16) -> Option<Sample> {
        // Where the rows of a picture are `interval` wide the walk can cut out the intervals.
        assert_eq!(self.shape.columns(), usize::from(interval));
        let mcus = self.shape.columns() * self.shape.rows();
        let columns = usize::from(width).div_ceil(16);
        if mcus % columns != 0 {
            return None;
        }
        let height = mcus / columns * self.shape.mcu_height() - 5;
        let cutter = walked(self);
        let mut scan = Vec::new();
        for row in 0..self.shape.rows() {
            if row > 0 {
                scan.extend([0xff, marker::RST0 + ((row - 1) % 8) as u8]);
            }
            cutter.cut(row..row + 1, &mut scan).unwrap();
        }
        Some(Sample {
            shape: Shape::new(width, height as u16, self.shape.sampling, interval),
            scan,
            ..*self
        })
    }

    fn jpeg(&self) -> Vec<u8> {
        let (shape, mut out) = (&self.shape, [0; MAX_HEADER]);
        let len = write_header(
            &mut out,
            shape.width,
            shape.height,
            shape.sampling,
            shape.restart_interval,
            &self.quant,
        );
        [&out[..len], &self.scan, &EOI].concat()
    }
}

/// Edges, ramps and noise; noise alone; black and white blocks, which have the largest differences;
/// a ramp.
fn pixels(kind: usize, width: usize, height: usize) -> Vec<u8> {
    let mut noise = 1u32;
    let pixel = |n: usize| {
        let (x, y) = (n / 3 % width, n / 3 / width);
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match kind {
            1 => (noise >> 24) as u8,
            2 => ((x / 8 + y / 8) % 2 * 255) as u8,
            _ => (x * 255 / width) as u8,
        }
    };
    match kind {
        0 => image(width, height),
        _ => (0..width * height * 3).map(pixel).collect(),
    }
}

fn walked(sample: &Sample) -> Cutter {
    let mut cutter = Cutter::new(sample.shape);
    cutter.feed(&sample.scan).unwrap();
    cutter.finish().unwrap();
    cutter
}

/// Decodes to the start of `pixels`, in rows of the JPEG's width. A warning is a failure.
fn decode_into(jpeg: &[u8], eighths: usize, pixels: &mut [u32]) {
    let mut turbo = Decompressor::new().unwrap();
    let factor = ScalingFactor::new(eighths, 8);
    turbo.set_scaling_factor(factor).unwrap();
    let header = turbo.read_header(jpeg).unwrap().scaled(factor);
    let image = Image {
        pixels: bytemuck::cast_slice_mut(&mut pixels[..header.width * header.height]),
        width: header.width,
        pitch: header.width * 4,
        height: header.height,
        format: PixelFormat::BGRX,
    };
    turbo.decompress(jpeg, image).unwrap();
}

fn whole(sample: &Sample, eighths: usize) -> Vec<u32> {
    let (width, height) = scaled_size(&sample.shape, eighths);
    let mut pixels = vec![0; width * height];
    decode_into(&sample.jpeg(), eighths, &mut pixels);
    pixels
}

fn scaled_size(shape: &Shape, eighths: usize) -> (usize, usize) {
    let factor = ScalingFactor::new(eighths, 8);
    (
        factor.scale(usize::from(shape.width)),
        factor.scale(usize::from(shape.height)),
    )
}

/// The picture, decoded in strips.
fn by_strips(cutter: &Cutter, quant: &[u8; 128], count: usize, eighths: usize) -> Vec<u32> {
    let shape = cutter.shape();
    let (width, height) = scaled_size(shape, eighths);
    let (mut pixels, mut jpeg) = (vec![0; width * height], Vec::new());
    let strips: Vec<_> = shape.strips(count).collect();
    assert_eq!(strips.last().unwrap().end, shape.rows());
    for strip in &strips {
        cutter.write_strip(strip.clone(), quant, &mut jpeg).unwrap();
        let first = shape.pixels(strip).start * eighths / 8;
        decode_into(&jpeg, eighths, &mut pixels[first * width..]);
    }
    if eighths == 8 {
        for seam in strips.iter().filter_map(|strip| shape.seam(strip)) {
            cutter.write_seam(&seam, quant, &mut jpeg).unwrap();
            let mut two = vec![0; width * seam.height];
            decode_into(&jpeg, 8, &mut two);
            pixels[seam.to.start * width..seam.to.end * width]
                .copy_from_slice(&two[seam.from.start * width..seam.from.end * width]);
        }
    }
    pixels
}

/// Feeds `scan` in pieces of these sizes, over and over.
fn feed_pieces(cutter: &mut Cutter, mut scan: &[u8], sizes: &[usize]) -> Result<(), Broken> {
    let mut rows = cutter.rows();
    for &size in sizes.iter().cycle() {
        let (piece, rest) = scan.split_at(size.min(scan.len()));
        cutter.feed(piece)?;
        cutter.advance()?;
        assert!(rows <= cutter.rows() && cutter.rows() <= cutter.shape().rows());
        rows = cutter.rows();
        scan = rest;
        if scan.is_empty() {
            break;
        }
    }
    cutter.finish()
}

fn assert_equal(sample: &Sample, cutter: &Cutter, count: usize) {
    for eighths in [8, 4, 2, 1] {
        assert!(
            by_strips(cutter, &sample.quant, count, eighths) == whole(sample, eighths),
            "{:?}, {count} strips, {eighths}/8",
            sample.shape
        );
    }
    let mut scan = Vec::new();
    cutter.cut(0..sample.shape.rows(), &mut scan).unwrap();
    assert!(scan == sample.scan, "{:?}", sample.shape);
}

fn samplings() -> impl Strategy<Value = Sampling> {
    prop_oneof![Just(Sampling::Yuv422), Just(Sampling::Yuv420)]
}

fn samples() -> impl Strategy<Value = Sample> {
    let sizes = (1usize..200, 1usize..200);
    (sizes, samplings(), 1..=100, 0usize..4).prop_map(
        |((width, height), sampling, quality, kind)| {
            Sample::encode(&pixels(kind, width, height), width, sampling, quality)
        },
    )
}

/// With intervals that end at ends of rows, in the middle, or never.
fn restart_samples() -> impl Strategy<Value = Sample> {
    let sizes = (1usize..12, 1usize..30, 1usize..16);
    (sizes, samplings(), 1..=100, 0usize..4).prop_filter_map(
        "no whole rows",
        |((interval, rows, columns), sampling, quality, kind)| {
            let (width, height) = (interval * 16, rows * 16);
            let pixels = pixels(kind, width, height);
            Sample::encode(&pixels, width, sampling, quality)
                .with_restarts(columns as u16 * 16 - 3, interval as u16)
        },
    )
}

fn piece_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        prop::collection::vec(1usize..4, 1..9),
        prop::collection::vec(1usize..1500, 1..9),
    ]
}

/// Random bytes with many markers and stuffed zeros.
fn scan_like() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => any::<u8>(), 1 => Just(0xff), 1 => Just(0)];
    prop::collection::vec(byte, 0..3000)
}

#[derive(Clone, Debug)]
enum Damage {
    Byte(u8),
    Marker(u8),
    Cut,
    Loss(usize),
}

fn damages() -> impl Strategy<Value = Vec<(prop::sample::Index, Damage)>> {
    let damage = prop_oneof![
        any::<u8>().prop_map(Damage::Byte),
        (0xd0u8..=0xdf).prop_map(Damage::Marker),
        Just(Damage::Cut),
        (1usize..1500).prop_map(Damage::Loss),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), damage), 1..5)
}

fn damaged(mut scan: Vec<u8>, damages: &[(prop::sample::Index, Damage)]) -> Vec<u8> {
    for (at, damage) in damages {
        if scan.is_empty() {
            break;
        }
        let at = at.index(scan.len());
        match *damage {
            Damage::Byte(byte) => scan[at] = byte,
            Damage::Marker(code) => drop(scan.splice(at..at, [0xff, code])),
            Damage::Cut => scan.truncate(at),
            Damage::Loss(len) => drop(scan.drain(at..scan.len().min(at + len))),
        }
    }
    scan
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn strips_are_the_picture(sample in samples(), sizes in piece_sizes(), count in 1usize..30) {
        let mut cutter = Cutter::new(sample.shape);
        feed_pieces(&mut cutter, &sample.scan, &sizes).unwrap();
        assert_equal(&sample, &cutter, count);
    }

    #[test]
    fn strips_at_restart_markers_are_the_picture(
        sample in restart_samples(), sizes in piece_sizes(), count in 1usize..30,
    ) {
        let mut cutter = Cutter::new(sample.shape);
        feed_pieces(&mut cutter, &sample.scan, &sizes).unwrap();
        assert_equal(&sample, &cutter, count);
    }

    #[test]
    fn damage_never_panics(
        sample in prop_oneof![samples(), restart_samples()],
        damages in damages(),
        sizes in piece_sizes(),
    ) {
        let mut cutter = Cutter::new(sample.shape);
        let scan = damaged(sample.scan.clone(), &damages);
        let _ = feed_pieces(&mut cutter, &scan, &sizes);
        let (rows, step) = (cutter.rows(), sample.shape.step());
        let mut out = Vec::new();
        for start in (0..rows).step_by(step) {
            let end = (start + step).min(rows);
            out.clear();
            cutter.cut(start..end, &mut out).expect("whole rows");
            // What was stepped over once can be stepped over again.
            let height = sample.shape.pixels(&(start..end)).len() as u16;
            let mut again = Cutter::new(Shape { height, ..sample.shape });
            again.feed(&out).unwrap();
            again.finish().unwrap();
            prop_assert_eq!(again.rows(), end - start);
        }
        // And nothing of it is left for the next picture.
        cutter.reset(sample.shape);
        feed_pieces(&mut cutter, &sample.scan, &sizes).unwrap();
        assert_equal(&sample, &cutter, 3);
    }

    #[test]
    fn any_bytes_never_panic(
        bytes in scan_like(),
        sizes in piece_sizes(),
        (width, height, interval) in (0u16..400, 0u16..400, 0u16..30),
        sampling in samplings(),
        rows in (0usize..60, 0usize..60),
    ) {
        let shape = Shape::new(width, height, sampling, interval);
        let mut cutter = Cutter::new(shape);
        let _ = feed_pieces(&mut cutter, &bytes, &sizes);
        let is_cut = cutter.cut(rows.0..rows.1, &mut Vec::new()).is_ok();
        prop_assert!(!is_cut || rows.0 < rows.1 && rows.1 <= cutter.rows());
        prop_assert_eq!(shape.strips(rows.0).map(|strip| strip.len()).sum::<usize>(), shape.rows());
    }
}

#[test]
fn files_of_other_programs_are_cut() {
    for name in [
        "ffmpeg-422-default-huffman.jpg",
        "cjpeg-422-restart.jpg",
        "cjpeg-420-restart-blocks.jpg",
    ] {
        let sample = Sample::file(name);
        let cutter = walked(&sample);
        for count in [1, 2, 5, 100] {
            assert_equal(&sample, &cutter, count);
        }
    }
}

#[test]
fn rows_are_whole_when_their_last_byte_is_there() {
    let sample = Sample::encode(&image(322, 242), 322, Sampling::Yuv422, 80);
    let all = walked(&sample);
    let mut cutter = Cutter::new(sample.shape);
    let mut rows = 0;
    for (at, &byte) in sample.scan.iter().enumerate() {
        cutter.feed(&[byte]).unwrap();
        cutter.advance().unwrap();
        for row in rows..cutter.rows() {
            let (mut now, mut then) = (Vec::new(), Vec::new());
            cutter.cut(row..row + 1, &mut now).unwrap();
            all.cut(row..row + 1, &mut then).unwrap();
            assert_eq!(now, then);
            // Padding may make the last byte a 0xff, with a zero behind it.
            let mut before = Vec::new();
            all.cut(0..row + 1, &mut before).unwrap();
            assert!((at + 1..at + 3).contains(&before.len()), "row {row}");
        }
        rows = cutter.rows();
    }
    assert_eq!(rows, sample.shape.rows());
}

#[test]
fn an_end_marker_is_an_end() {
    for name in ["ffmpeg-422-default-huffman.jpg", "cjpeg-422-restart.jpg"] {
        let sample = Sample::file(name);
        let mut cutter = walked(&sample);
        let fill = [&sample.scan[..], &[0xff], &EOI, &[0; 100], &[0xff, 0xd0]].concat();
        for size in [1, 7, 100_000] {
            cutter.reset(sample.shape);
            feed_pieces(&mut cutter, &fill, &[size]).unwrap();
            assert_eq!(cutter.rows(), sample.shape.rows());
        }
        // Too soon.
        let half = [&sample.scan[..sample.scan.len() / 2], &EOI].concat();
        cutter.reset(sample.shape);
        assert_eq!(feed_pieces(&mut cutter, &half, &[50]), Err(Broken));
    }
}

#[test]
fn steps_are_where_intervals_end_with_rows() {
    let step = |interval| Shape::new(1920, 1080, Sampling::Yuv422, interval).step();
    assert_eq!([0, 1, 30, 120, 240, 7].map(step), [1, 1, 1, 1, 2, 7]);
    // Never, in this picture: it is one strip.
    let shape = Shape::new(1920, 1080, Sampling::Yuv422, 0x3fff);
    assert!(shape.strips(8).eq(std::iter::once(0..135)));
    let shape = Shape::new(1920, 1080, Sampling::Yuv422, 240);
    let strips: Vec<_> = shape.strips(4).collect();
    assert_eq!(strips, [0..34, 34..68, 68..102, 102..135]);
}

#[test]
fn a_scan_beyond_reason_is_refused() {
    for interval in [0, 4] {
        let mut cutter = Cutter::new(Shape::new(64, 64, Sampling::Yuv422, interval));
        let million = vec![0; 1 << 20];
        let fed = (0..100)
            .take_while(|_| cutter.feed(&million).is_ok())
            .count();
        assert_eq!(fed, 16);
    }
}
