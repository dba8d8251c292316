#![expect(
    clippy::single_range_in_vec_init,
    reason = "lists of present ranges, some of them of one"
)]

use proptest::prelude::*;
use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, Subsamp};

use super::*;
use crate::jpeg::header::Header;
use crate::jpeg::rebuild::write_jpeg;
use crate::jpeg::samples::image;

/// A frame that owns its scan.
#[derive(Clone, Debug)]
struct Sample {
    width: u16,
    height: u16,
    sampling: Sampling,
    restart_interval: u16,
    quant: [u8; 128],
    scan: Vec<u8>,
}

impl Sample {
    fn picture(&self) -> Picture<'_> {
        Picture {
            width: self.width,
            height: self.height,
            sampling: self.sampling,
            restart_interval: self.restart_interval,
            quant: self.quant,
            scan: &self.scan,
        }
    }

    fn part<'a>(&'a self, present: &'a [Range<usize>], has_end: bool) -> Part<'a> {
        Part {
            picture: self.picture(),
            present,
            has_end,
        }
    }

    fn layout(&self) -> Layout {
        layout(&self.picture())
    }

    /// Each MCU's coefficients.
    fn mcus(&self) -> Vec<Vec<Vec<i32>>> {
        let layout = self.layout();
        let mut decoder = standard(&layout, self.restart_interval, &self.scan).unwrap();
        let mut one = Rows::default();
        one.fit(&layout, 1, 1);
        let mut mcus = Vec::new();
        for _ in 0..layout.mcus() {
            decoder.mcu(&mut one, 0, 0).unwrap();
            let blocks = one.blocks[..3].iter().flatten();
            mcus.push(blocks.map(coefficients).collect());
        }
        assert!(decoder.reader.position() + 1 >= self.scan.len());
        mcus
    }

    /// Its luma plane, in which no MCU's samples depend on another's.
    fn luma(&self) -> Vec<u8> {
        let mut jpeg = Vec::new();
        write_jpeg(&mut jpeg, &self.picture());
        let mut decompressor = Decompressor::new().unwrap();
        let (width, height) = (usize::from(self.width), usize::from(self.height));
        let mut pixels = vec![0; width * height];
        let image = Image {
            pixels: &mut pixels[..],
            width,
            pitch: width,
            height,
            format: PixelFormat::GRAY,
        };
        // A warning would be an error here.
        decompressor.decompress(&jpeg, image).unwrap();
        pixels
    }

    /// Where its intervals' data lies.
    fn intervals(&self) -> Vec<Range<usize>> {
        let (mut out, mut start) = (Vec::new(), 0);
        while let Some(at) = next_marker(&self.scan, start) {
            out.push(start..at);
            start = at + 2;
        }
        out.push(start..self.scan.len());
        out
    }
}

fn coefficients(block: &Block) -> Vec<i32> {
    let ac = (1..64).map(|k| match block.mask >> k & 1 {
        1 => i32::from(block.ac[k]),
        _ => 0,
    });
    std::iter::once(block.dc).chain(ac).collect()
}

/// One of two pictures that differ everywhere.
fn sample(
    size: (u16, u16),
    sampling: Sampling,
    quality: i32,
    restart_interval: u16,
    is_negative: bool,
) -> Sample {
    let (width, height) = (usize::from(size.0), usize::from(size.1));
    let mut pixels = image(width, height);
    if is_negative {
        pixels.iter_mut().for_each(|p| *p = 255 - *p / 2);
    }
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(quality).unwrap();
    let subsamp = match sampling {
        Sampling::Yuv422 => Subsamp::Sub2x1,
        Sampling::Yuv420 => Subsamp::Sub2x2,
    };
    compressor.set_subsamp(subsamp).unwrap();
    let image = Image {
        pixels: &pixels[..],
        width,
        pitch: width * 3,
        height,
        format: PixelFormat::RGB,
    };
    let jpeg = compressor.compress_to_vec(image).unwrap();
    let header = Header::parse(&jpeg).unwrap();
    let mut quant = [0; 128];
    quant[..64].copy_from_slice(&header.quant(0).unwrap().narrowed().unwrap());
    quant[64..].copy_from_slice(&header.quant(1).unwrap().narrowed().unwrap());
    // The restart interval that is wanted.
    let layout = Layout::standard(size.0, size.1, sampling);
    let mut decoder = standard(&layout, 0, &jpeg[header.scan_start..]).unwrap();
    let mut rows = Rows::default();
    rows.fit(&layout, layout.mcus_wide, 1);
    let mut scan = Vec::new();
    let mut encoder = Encoder::new(layout, restart_interval, &mut scan);
    for _ in 0..layout.mcus_high {
        for column in 0..layout.mcus_wide {
            decoder.mcu(&mut rows, column, 0).unwrap();
        }
        assert!(encoder.band(&rows, 3, layout.factors[0].1).is_ok());
    }
    encoder.writer.align();
    Sample {
        width: size.0,
        height: size.1,
        sampling,
        restart_interval,
        quant,
        scan,
    }
}

/// What is not present becomes rubbish that looks like data.
fn with_gaps(whole: &Sample, present: &[Range<usize>]) -> Sample {
    let mut sample = whole.clone();
    for (i, byte) in sample.scan.iter_mut().enumerate() {
        if !present.iter().any(|range| range.contains(&i)) {
            *byte = [0, 0x5a, 0xff, 0xd3][i % 4];
        }
    }
    sample
}

/// Conceals and checks every MCU: the new one where it is intact, else the last one's. Gives the
/// intact ones.
#[track_caller]
fn check(new: &Sample, last: &Sample, present: &[Range<usize>], has_end: bool) -> Vec<usize> {
    let broken = with_gaps(new, present);
    let part = broken.part(present, has_end);
    let mut concealer = Concealer::default();
    let intact: Vec<usize> = concealer.intact(&part).flatten().collect();
    let Some(scan) = concealer.conceal(&part, &last.picture()) else {
        assert!(intact.is_empty());
        return intact;
    };
    assert!(!intact.is_empty());
    let shown = Sample {
        scan: scan.to_vec(),
        ..new.clone()
    };
    let (new, last) = (new.mcus(), last.mcus());
    for (i, mcu) in shown.mcus().iter().enumerate() {
        let want = if intact.binary_search(&i).is_ok() {
            &new[i]
        } else {
            &last[i]
        };
        assert!(mcu == want, "MCU {i} of {}", new.len());
    }
    intact
}

const BOTH: [Sampling; 2] = [Sampling::Yuv422, Sampling::Yuv420];

/// A new frame and the one before it.
fn pair(size: (u16, u16), sampling: Sampling, intervals: (u16, u16)) -> (Sample, Sample) {
    (
        sample(size, sampling, 80, intervals.0, false),
        sample(size, sampling, 80, intervals.1, true),
    )
}

#[test]
fn without_restart_markers_all_up_to_the_gap_is_shown() {
    for sampling in BOTH {
        let (new, last) = pair((322, 242), sampling, (0, 0));
        let len = new.scan.len();
        let total = new.layout().mcus();
        for gap in [len / 3, len / 2, len - 5] {
            let intact = check(&new, &last, &[0..gap, gap + 3..len], true);
            assert_eq!(intact, (0..intact.len()).collect::<Vec<_>>());
            // As many as the data has room for, and not one more.
            let share = total * gap / len;
            assert!(intact.len().abs_diff(share) < total / 5, "{}", intact.len());
            assert!(intact.len() < total);
        }
        assert!(check(&new, &last, &[5..len], true).is_empty());
        assert!(check(&new, &last, &[], false).is_empty());
        assert_eq!(check(&new, &last, &[0..len], false).len(), total);
    }
}

#[test]
fn with_restart_markers_every_whole_interval_is_shown() {
    for sampling in BOTH {
        let size = (160, 128);
        let wide = Layout::standard(size.0, size.1, sampling).mcus_wide as u16;
        for interval in [1, 3, wide, 2 * wide] {
            let (new, last) = pair(size, sampling, (interval, 0));
            let intervals = new.intervals();
            let len = new.scan.len();
            for lost in [0, 1, intervals.len() / 2, intervals.len() - 1] {
                let gap = intervals[lost].start..intervals[lost].end;
                let present = [0..gap.start, gap.end..len];
                let intact = check(&new, &last, &present, gap.end < len);
                let first = lost * usize::from(interval);
                let want: Vec<usize> = (0..new.layout().mcus())
                    .filter(|i| !(first..first + usize::from(interval)).contains(i))
                    .collect();
                assert_eq!(intact, want, "{sampling:?} {interval} {lost}");
            }
        }
    }
}

#[test]
fn a_gap_that_may_hide_eight_intervals_or_none_is_placed_by_the_end() {
    let (new, last) = pair((320, 240), Sampling::Yuv420, (1, 1));
    let intervals = new.intervals();
    let len = new.scan.len();
    let gap = intervals[50].start + 1..intervals[90].start + 1;
    let present = [0..gap.start, gap.end..len];
    let total = new.layout().mcus();
    let want: Vec<usize> = (0..50).chain(91..total).collect();
    assert_eq!(check(&new, &last, &present, true), want);
    // Without it nobody knows, and what is not known is not shown.
    let open = [present[0].clone(), gap.end..intervals[200].start];
    assert_eq!(check(&new, &last, &open, false), want[..50]);
}

#[test]
fn luma_is_the_new_or_the_last_frames_pixel_for_pixel() {
    let (new, last) = pair((160, 128), Sampling::Yuv420, (10, 0));
    let intervals = new.intervals();
    let present = [0..intervals[2].start, intervals[5].end..new.scan.len()];
    let broken = with_gaps(&new, &present);
    let mut concealer = Concealer::default();
    let scan = concealer.conceal(&broken.part(&present, true), &last.picture());
    let shown = Sample {
        scan: scan.unwrap().to_vec(),
        ..new.clone()
    };
    let (from, to) = (2 * 16 * 160, 6 * 16 * 160);
    let (shown, new, last) = (shown.luma(), new.luma(), last.luma());
    assert_eq!(shown[..from], new[..from]);
    assert_eq!(shown[from..to], last[from..to]);
    assert_eq!(shown[to..], new[to..]);
}

#[test]
fn other_tables_are_requantised() {
    let new = sample((64, 64), Sampling::Yuv420, 70, 4, false);
    for quality in [3, 50, 95, 100] {
        let last = sample((64, 64), Sampling::Yuv420, quality, 0, true);
        let end = new.intervals()[1].end;
        let present = [0..end];
        let broken = with_gaps(&new, &present);
        let mut concealer = Concealer::default();
        let scan = concealer.conceal(&broken.part(&present, false), &last.picture());
        let shown = Sample {
            scan: scan.unwrap().to_vec(),
            ..new.clone()
        };
        let (shown, last, new) = (shown.luma(), last.luma(), new.luma());
        assert_eq!(shown[..64 * 32], new[..64 * 32]);
        let error: u32 = shown[64 * 32..]
            .iter()
            .zip(&last[64 * 32..])
            .map(|(a, b)| u32::from(a.abs_diff(*b)))
            .sum();
        assert!(error / (64 * 32) < 8, "{quality}: {error}");
    }
}

#[test]
fn other_pictures_are_not_mixed() {
    let new = sample((64, 48), Sampling::Yuv420, 80, 0, false);
    let present = [0..new.scan.len() / 2];
    let part = new.part(&present, false);
    let mut concealer = Concealer::default();
    let wider = sample((65, 48), Sampling::Yuv420, 80, 0, true);
    let sampled = sample((64, 48), Sampling::Yuv422, 80, 0, true);
    let mut short = sample((64, 48), Sampling::Yuv420, 80, 0, true);
    assert!(concealer.conceal(&part, &short.picture()).is_some());
    short.scan.truncate(100);
    for last in [wider, sampled, short] {
        assert_eq!(concealer.conceal(&part, &last.picture()), None);
    }
}

#[test]
fn markers_out_of_order_are_not_believed() {
    let (mut new, last) = pair((64, 64), Sampling::Yuv420, (1, 1));
    let at = new.intervals()[3].end;
    new.scan[at + 1] ^= 4;
    let present = [0..new.scan.len()];
    let mut concealer = Concealer::default();
    assert_eq!(
        concealer.conceal(&new.part(&present, true), &last.picture()),
        None
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_lost_each_mcu_is_the_new_or_the_last_one(
        is_420: bool,
        interval in prop_oneof![Just(0u16), 1u16..3, 1u16..12, Just(500)],
        old_interval in 0u16..3,
        width in 1u16..200,
        height in 1u16..200,
        packet in 20usize..700,
        lost in proptest::collection::vec(any::<prop::sample::Index>(), 1..6),
        burst in 1usize..9,
    ) {
        let sampling = BOTH[usize::from(is_420)];
        let (new, last) = pair((width, height), sampling, (interval, old_interval));
        let len = new.scan.len();
        let packets = len.div_ceil(packet);
        let mut here = vec![true; packets];
        for index in lost {
            let first = index.index(packets);
            here[first..(first + burst).min(packets)].fill(false);
        }
        let mut present: Vec<Range<usize>> = Vec::new();
        for (i, _) in here.iter().enumerate().filter(|(_, here)| **here) {
            let range = i * packet..((i + 1) * packet).min(len);
            match present.last_mut() {
                Some(before) if before.end == range.start => before.end = range.end,
                _ => present.push(range),
            }
        }
        let has_end = here[packets - 1];
        let scan_end = present.last().map_or(0, |range| range.end);
        let cut = Sample { scan: new.scan[..scan_end].to_vec(), ..new.clone() };
        // The receiver does not know the bytes behind the last packet that came.
        let part = with_gaps(&cut, &present);
        let mut concealer = Concealer::default();
        let cut_intact: Vec<_> = concealer.intact(&part.part(&present, has_end)).collect();
        let intact = check(&new, &last, &present, has_end);
        if has_end {
            prop_assert_eq!(cut_intact.into_iter().flatten().collect::<Vec<_>>(), intact);
        }
    }

    #[test]
    fn nonsense_never_panics(
        scan in proptest::collection::vec(
            prop_oneof![Just(0xffu8), 0xd0u8..0xd8, Just(0u8), any::<u8>()], 0..400),
        cuts in proptest::collection::vec((0usize..500, 0usize..500), 0..8),
        interval: u16,
        small_interval in 0u16..4,
        is_small: bool,
        has_end: bool,
        width in 0u16..100,
        height in 0u16..100,
        quant in any::<u8>(),
    ) {
        let restart_interval = if is_small { small_interval } else { interval };
        let picture = Picture {
            width,
            height,
            sampling: BOTH[usize::from(has_end)],
            restart_interval,
            quant: [quant; 128],
            scan: &scan,
        };
        let present: Vec<Range<usize>> = cuts.iter().map(|&(a, b)| a..b).collect();
        let part = Part { picture, present: &present, has_end };
        let mut concealer = Concealer::default();
        let intact: Vec<Range<usize>> = concealer.intact(&part).collect();
        let total = layout(&picture).mcus();
        let mut end = 0;
        for range in intact {
            prop_assert!(range.start >= end && range.end <= total && !range.is_empty());
            end = range.end;
        }
        let whole = (width > 0 && height > 0)
            .then(|| sample((width, height), picture.sampling, 60, 2, false));
        for last in whole.iter().map(Sample::picture).chain([picture]) {
            let last = Picture { quant: [3; 128], ..last };
            let _ = concealer.conceal(&part, &last);
        }
    }
}
