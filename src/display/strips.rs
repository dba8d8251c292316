//! Decodes a picture in strips on several threads while its scan still arrives, so that little is
//! left to do after the last byte. The pixels are exactly those of [`super::decode`]. Only an
//! accelerator: what it refuses, such as a damaged scan, is decoded as a whole.
//!
//! The caller's thread follows the scan and cuts it ([`crate::jpeg::strips`]). Each complete strip
//! becomes a job with its own rows of the window. Helpers take jobs, and so does the caller's
//! thread while nothing new arrives. Helpers are threads that live for one picture: that costs 0.05
//! ms, and lets them borrow the window's pixels.
//!
//! Memory: at most twice the scan, and for each thread the pixels of one strip if it is scaled.

use std::collections::VecDeque;
use std::mem::take;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use turbojpeg::{Decompressor, ScalingFactor};

use super::arriving::Head;
use super::decode::{DecodeError, MAX_PIXELS, decompress, room};
use super::layout::{Layout, blacken_around};
use super::scale::{Part, Scaler, rows_needed};
use crate::jpeg::strips::{Broken, Cutter, Seam, Shape};

/// More helpers than this gain nothing.
const MOST_HELPERS: usize = 3;
/// Smaller pictures are decoded faster than they are cut.
const LEAST_PIXELS: usize = 320 * 240;
/// Most strips of a picture.
const MOST_STRIPS: usize = 32;
/// Rows of MCUs in a strip, at least; and where each strip needs rows of its neighbours too.
const LEAST_ROWS: usize = 6;
const LEAST_ROWS_SHARED: usize = 10;

/// One helper for each core but one, at most 3.
pub fn default_helpers() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores - 1).min(MOST_HELPERS)
}

/// Where the bytes of a scan come from.
pub trait Scan {
    /// The next bytes; waits for them if `may_wait`.
    fn next(&mut self, may_wait: bool) -> Next<'_>;
}

/// What has come of a scan.
#[derive(Debug)]
pub enum Next<'a> {
    /// More of it, perhaps nothing.
    Bytes(&'a [u8]),
    /// The rest of it.
    Last(&'a [u8]),
    /// No more will come.
    GivenUp,
}

/// All of a scan.
impl Scan for &[u8] {
    fn next(&mut self, _: bool) -> Next<'_> {
        Next::Last(take(self))
    }
}

/// Decodes in strips; keeps its memory from picture to picture.
#[derive(Debug)]
pub struct StripDecoder {
    cutter: Cutter,
    own: Worker,
    helpers: Vec<Worker>,
    plan: Vec<Piece>,
    /// Memory of strips' JPEGs.
    used: Vec<Vec<u8>>,
}

/// What one thread needs to decode a strip.
#[derive(Debug)]
struct Worker {
    turbo: Decompressor,
    scratch: Vec<u32>,
    scaler: Scaler,
}

/// A part of the picture that is decoded as one job.
#[derive(Clone, Debug)]
struct Piece {
    /// The rows of MCUs that it needs.
    rows: Range<usize>,
    to: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// These rows of the picture's place in the window.
    Rows(Range<usize>),
    /// The same, scaled; the strip begins with that row of the decoded picture.
    Scaled { rows: Range<usize>, first: usize },
    /// The rows on both sides of a seam.
    Seam(Seam),
}

struct Job<'p> {
    jpeg: Vec<u8>,
    to: Target<'p>,
}

enum Target<'p> {
    Rows(&'p mut [u32]),
    Scaled {
        pixels: &'p mut [u32],
        rows: Range<usize>,
        first: usize,
        /// Height of the strip, decoded.
        height: usize,
    },
    Seam(Seam),
}

/// Two rows of pixels at a seam, and which rows of the picture they are.
#[derive(Debug)]
struct SeamRows {
    to: Range<usize>,
    pixels: Vec<u32>,
}

/// What all jobs of a picture have in common.
#[derive(Clone, Copy)]
struct Common {
    layout: Layout,
    /// Width of the window.
    pitch: usize,
}

/// Jobs that wait for a thread.
struct Queue<'p> {
    state: Mutex<State<'p>>,
    change: Condvar,
}

#[derive(Default)]
struct State<'p> {
    jobs: VecDeque<Job<'p>>,
    is_closed: bool,
    /// turbojpeg complained about a strip.
    is_broken: bool,
    used: Vec<Vec<u8>>,
    seams: Vec<SeamRows>,
}

impl<'p> Queue<'p> {
    fn lock(&self) -> MutexGuard<'_, State<'p>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, job: Job<'p>) -> Result<(), Broken> {
        let mut state = self.lock();
        if state.is_broken {
            return Err(Broken);
        }
        state.jobs.push_back(job);
        drop(state);
        self.change.notify_one();
        Ok(())
    }

    /// Ends the queue; if the picture `is_broken`, waiting jobs are dropped.
    fn close(&self, is_broken: bool) {
        let mut state = self.lock();
        state.is_closed = true;
        state.is_broken |= is_broken;
        if is_broken {
            state.jobs.clear();
        }
        drop(state);
        self.change.notify_all();
    }

    fn try_take(&self) -> Option<Job<'p>> {
        self.lock().jobs.pop_front()
    }

    /// Waits for a job; `None`: no more will come.
    fn take(&self) -> Option<Job<'p>> {
        let mut state = self.lock();
        loop {
            match state.jobs.pop_front() {
                Some(job) => return Some(job),
                None if state.is_closed => return None,
                None => {
                    let woken = self.change.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn memory(&self) -> Vec<u8> {
        self.lock().used.pop().unwrap_or_default()
    }
}

impl StripDecoder {
    /// A decoder with up to `helpers` helpers.
    ///
    /// # Errors
    /// turbojpeg cannot be set up.
    pub fn new(helpers: usize) -> Result<StripDecoder, DecodeError> {
        let helpers = helpers.min(MOST_HELPERS);
        Ok(StripDecoder {
            cutter: Cutter::new(Shape::new(0, 0, crate::jpeg::Sampling::Yuv422, 0)),
            own: Worker::new()?,
            helpers: (0..helpers)
                .map(|_| Worker::new())
                .collect::<Result<_, _>>()?,
            plan: Vec::new(),
            used: Vec::new(),
        })
    }

    /// Whether strips are faster even if the whole picture is there already. Then the walk that
    /// finds the strips is not hidden behind the arrival, and costs a fifth of the decoding.
    pub fn is_worth_while(&self, head: &Head, size: (usize, usize)) -> bool {
        let picture = (usize::from(head.width), usize::from(head.height));
        let needed = match Layout::new(picture, size).is_direct() && !head.has_restarts() {
            true => 2,
            false => 1,
        };
        self.helpers.len() >= needed && self.accepts(head)
    }

    /// Whether there are helpers, and enough for them to do.
    pub fn accepts(&self, head: &Head) -> bool {
        let pixels = usize::from(head.width) * usize::from(head.height);
        !self.helpers.is_empty() && (LEAST_PIXELS..=MAX_PIXELS).contains(&pixels)
    }

    /// Decodes a picture into `window`, a buffer of `size` pixels, as
    /// [`Decoder::decode`](super::decode::Decoder::decode) does, while `scan` brings its bytes.
    ///
    /// # Errors
    /// [`Broken`]: the window's contents are undefined.
    pub fn decode(
        &mut self,
        head: &Head,
        scan: &mut impl Scan,
        window: &mut [u32],
        size: (usize, usize),
    ) -> Result<(), Broken> {
        if size.0.checked_mul(size.1) != Some(window.len()) || window.is_empty() {
            return Err(Broken);
        }
        let shape = head.shape();
        let layout = Layout::new((head.width.into(), head.height.into()), size);
        let common = Common {
            layout,
            pitch: size.0,
        };
        self.cutter.reset(shape);
        plan(&shape, &layout, &mut self.plan);
        for worker in self.helpers.iter_mut().chain([&mut self.own]) {
            let set = worker.turbo.set_scaling_factor(layout.factor);
            set.map_err(|_| Broken)?;
        }
        blacken_around(window, size.0, layout.rect);
        let pixels = &mut window[layout.rect.y * size.0..][..layout.rect.height * size.0];
        let seams = self.work(head, scan, &mut *pixels, common)?;
        for seam in &seams {
            let rows = pixels[seam.to.start * size.0..].chunks_mut(size.0);
            for (row, from) in rows.zip(seam.pixels.chunks(layout.rect.width)) {
                row[layout.rect.x..][..from.len()].copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// Decodes all pieces; returns the rows at seams, which lie in rows of other jobs.
    fn work(
        &mut self,
        head: &Head,
        scan: &mut impl Scan,
        pixels: &mut [u32],
        common: Common,
    ) -> Result<Vec<SeamRows>, Broken> {
        let queue = Queue {
            state: Mutex::new(State {
                used: take(&mut self.used),
                ..State::default()
            }),
            change: Condvar::new(),
        };
        let (own, cutter, plan) = (&mut self.own, &mut self.cutter, &self.plan);
        let mut helpers = self.helpers.iter_mut();
        let result = thread::scope(|scope| {
            let call_helpers = || {
                for worker in helpers.by_ref() {
                    let queue = &queue;
                    let thread = thread::Builder::new().name("lancam-decode".to_owned());
                    let work = move || {
                        while let Some(job) = queue.take() {
                            worker.run(job, &common, queue);
                        }
                    };
                    // If it cannot be started, the others do its work.
                    drop(thread.spawn_scoped(scope, work));
                }
            };
            let mut lead = Lead {
                cutter,
                plan: plan.iter(),
                pixels,
                head,
                common,
                queue: &queue,
                call_helpers,
            };
            let result = lead.follow(scan, own);
            queue.close(result.is_err());
            while let Some(job) = queue.try_take() {
                own.run(job, &common, &queue);
            }
            result
        });
        let state = queue.state.into_inner();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        self.used = state.used;
        match state.is_broken {
            true => Err(Broken),
            false => result.map(|()| state.seams),
        }
    }
}

/// The thread that follows the scan.
struct Lead<'a, 'p, F> {
    cutter: &'a mut Cutter,
    /// The pieces that are not jobs yet, in the order in which they become complete.
    plan: std::slice::Iter<'a, Piece>,
    /// The rows of the window not given to a job yet.
    pixels: &'p mut [u32],
    head: &'a Head,
    common: Common,
    queue: &'a Queue<'p>,
    call_helpers: F,
}

impl<'p, F: FnMut()> Lead<'_, 'p, F> {
    /// Turns all pieces into jobs as the scan arrives, and works on jobs while it does not.
    fn follow(&mut self, scan: &mut impl Scan, own: &mut Worker) -> Result<(), Broken> {
        let mut is_idle = false;
        loop {
            let (bytes, is_last) = match scan.next(is_idle) {
                Next::Bytes(bytes) => (bytes, false),
                Next::Last(bytes) => (bytes, true),
                Next::GivenUp => return Err(Broken),
            };
            self.cutter.feed(bytes)?;
            match is_last {
                true => self.cutter.finish()?,
                false => self.cutter.advance()?,
            }
            self.cut()?;
            if is_last {
                return if self.plan.len() == 0 {
                    Ok(())
                } else {
                    Err(Broken)
                };
            }
            let job = self.queue.try_take();
            is_idle = job.is_none();
            if let Some(job) = job {
                own.run(job, &self.common, self.queue);
            }
        }
    }

    /// Turns the pieces that are complete into jobs.
    fn cut(&mut self) -> Result<(), Broken> {
        while let Some(piece) = self.plan.as_slice().first() {
            if piece.rows.end > self.cutter.rows() {
                break;
            }
            self.plan.next();
            let (rows, quant) = (piece.rows.clone(), &self.head.quant);
            let mut jpeg = self.queue.memory();
            match &piece.to {
                Place::Seam(seam) => self.cutter.write_seam(seam, quant, &mut jpeg)?,
                _ => self.cutter.write_strip(rows, quant, &mut jpeg)?,
            }
            let to = self.target(piece);
            self.queue.put(Job { jpeg, to })?;
            (self.call_helpers)();
        }
        Ok(())
    }

    fn target(&mut self, piece: &Piece) -> Target<'p> {
        match &piece.to {
            Place::Rows(rows) => Target::Rows(self.next_rows(rows.len())),
            Place::Scaled { rows, first } => Target::Scaled {
                pixels: self.next_rows(rows.len()),
                rows: rows.clone(),
                first: *first,
                height: self.decoded_rows(&piece.rows).len(),
            },
            Place::Seam(seam) => Target::Seam(seam.clone()),
        }
    }

    fn decoded_rows(&self, rows: &Range<usize>) -> Range<usize> {
        decoded_rows(self.cutter.shape(), self.common.layout.factor, rows)
    }

    /// Takes the next `rows` rows of the window.
    fn next_rows(&mut self, rows: usize) -> &'p mut [u32] {
        let (next, rest) = take(&mut self.pixels).split_at_mut(rows * self.common.pitch);
        self.pixels = rest;
        next
    }
}

impl Worker {
    fn new() -> Result<Worker, DecodeError> {
        Ok(Worker {
            turbo: Decompressor::new()?,
            scratch: Vec::new(),
            scaler: Scaler::default(),
        })
    }

    fn run<'p>(&mut self, job: Job<'p>, common: &Common, queue: &Queue<'p>) {
        let result = self.decode(&job.jpeg, job.to, common);
        let mut state = queue.lock();
        state.used.push(job.jpeg);
        match result {
            Ok(seam) => state.seams.extend(seam),
            Err(Broken) => {
                state.is_broken = true;
                state.jobs.clear();
            }
        }
    }

    fn decode(
        &mut self,
        jpeg: &[u8],
        to: Target<'_>,
        &Common { layout, pitch }: &Common,
    ) -> Result<Option<SeamRows>, Broken> {
        let (rect, width) = (layout.rect, layout.decoded.0);
        match to {
            Target::Rows(pixels) => {
                let size = (width, pixels.len() / pitch);
                intact(&mut self.turbo, jpeg, &mut pixels[rect.x..], size, pitch)?;
                Ok(None)
            }
            Target::Scaled {
                pixels,
                rows,
                first,
                height,
            } => {
                let scratch = room(&mut self.scratch, width * height);
                intact(&mut self.turbo, jpeg, scratch, (width, height), width)?;
                let part = Part {
                    pixels: scratch,
                    first,
                    picture: layout.decoded,
                };
                self.scaler.scale(part, rect, rows, pixels, pitch);
                Ok(None)
            }
            Target::Seam(seam) => {
                let scratch = room(&mut self.scratch, width * seam.height);
                intact(&mut self.turbo, jpeg, scratch, (width, seam.height), width)?;
                Ok(Some(SeamRows {
                    pixels: scratch[seam.from.start * width..seam.from.end * width].to_vec(),
                    to: seam.to,
                }))
            }
        }
    }
}

/// [`decompress`], with any warning an error.
fn intact(
    turbo: &mut Decompressor,
    jpeg: &[u8],
    pixels: &mut [u32],
    size: (usize, usize),
    pitch: usize,
) -> Result<(), Broken> {
    match decompress(turbo, jpeg, pixels, size, pitch) {
        Ok(None) => Ok(()),
        Ok(Some(_)) | Err(_) => Err(Broken),
    }
}

/// The rows of the decoded picture that these rows of MCUs become.
fn decoded_rows(shape: &Shape, factor: ScalingFactor, rows: &Range<usize>) -> Range<usize> {
    let pixels = shape.pixels(rows);
    factor.scale(pixels.start)..factor.scale(pixels.end)
}

/// Divides a picture into pieces, in the order in which they become complete.
fn plan(shape: &Shape, layout: &Layout, plan: &mut Vec<Piece>) {
    plan.clear();
    match layout.is_direct() {
        true => plan_direct(shape, layout.factor, plan),
        false => plan_scaled(shape, layout, plan),
    }
}

fn plan_direct(shape: &Shape, factor: ScalingFactor, plan: &mut Vec<Piece>) {
    let has_seams = factor == ScalingFactor::ONE && shape.mixes_rows();
    for strip in shape.strips(count(shape, has_seams)) {
        if let Some(seam) = shape.seam(&strip).filter(|_| has_seams) {
            plan.push(Piece {
                rows: seam.rows.clone(),
                to: Place::Seam(seam),
            });
        }
        plan.push(Piece {
            to: Place::Rows(decoded_rows(shape, factor, &strip)),
            rows: strip,
        });
    }
}

fn plan_scaled(shape: &Shape, layout: &Layout, plan: &mut Vec<Piece>) {
    let (factor, height, wanted) = (layout.factor, layout.decoded.1, layout.rect.height);
    let count = count(shape, true).min(wanted);
    for i in 0..count {
        let rows = wanted * i / count..wanted * (i + 1) / count;
        let needed = rows_needed(&rows, wanted, height);
        let pixel = |row: usize| row * factor.denom() / factor.num();
        let pixels =
            pixel(needed.start)..pixel(needed.end).min(shape.pixels(&(0..shape.rows())).end);
        let strip = shape.covering(&pixels, factor == ScalingFactor::ONE);
        let first = decoded_rows(shape, factor, &strip).start;
        plan.push(Piece {
            rows: strip,
            to: Place::Scaled { rows, first },
        });
    }
}

/// How many strips to cut.
fn count(shape: &Shape, is_shared: bool) -> usize {
    let least = match is_shared {
        true => LEAST_ROWS_SHARED,
        false => LEAST_ROWS,
    };
    (shape.rows() / least).clamp(1, MOST_STRIPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::decode::Decoder;
    use crate::jpeg::Picture;
    use crate::jpeg::gate::{Gate, GateOptions};
    use crate::jpeg::rebuild::write_jpeg;
    use crate::jpeg::samples::{encode, file};
    use proptest::prelude::*;
    use turbojpeg::Subsamp;

    /// A scan that comes in pieces, with nothing now and then, as a network brings it.
    struct Pieces<'a> {
        scan: &'a [u8],
        len: usize,
        is_pause: bool,
    }

    impl Scan for Pieces<'_> {
        fn next(&mut self, _: bool) -> Next<'_> {
            self.is_pause = !self.is_pause;
            if self.is_pause {
                return Next::Bytes(&[]);
            }
            let (next, rest) = self.scan.split_at(self.len.min(self.scan.len()));
            self.scan = rest;
            match rest.is_empty() {
                true => Next::Last(next),
                false => Next::Bytes(next),
            }
        }
    }

    /// A picture as the network brings it, and its pixels in a window, the whole way.
    fn whole(picture: &Picture<'_>, size: (usize, usize)) -> Vec<u32> {
        let (mut jpeg, mut pixels) = (Vec::new(), vec![7; size.0 * size.1]);
        write_jpeg(&mut jpeg, picture);
        let mut decoder = Decoder::new().expect("turbojpeg");
        let decoded = decoder.decode(&jpeg, &mut pixels, size).expect("a picture");
        assert_eq!(decoded.warning, None);
        pixels
    }

    fn in_strips(
        picture: &Picture<'_>,
        size: (usize, usize),
        helpers: usize,
        len: usize,
    ) -> Result<Vec<u32>, Broken> {
        let mut strips = StripDecoder::new(helpers).expect("turbojpeg");
        let mut pixels = vec![3; size.0 * size.1];
        let mut scan = Pieces {
            scan: picture.scan,
            len,
            is_pause: false,
        };
        strips.decode(&Head::of(picture), &mut scan, &mut pixels, size)?;
        Ok(pixels)
    }

    /// A window for a picture: its size, a fraction that turbojpeg has, or another one, with bars.
    fn window(picture: &Picture<'_>, kind: usize) -> (usize, usize) {
        let (width, height) = (usize::from(picture.width), usize::from(picture.height));
        match kind {
            0 => (width, height),
            1 => (width.div_ceil(2), height.div_ceil(2)),
            2 => (width.div_ceil(8) + 5, height.div_ceil(8)),
            3 => (width * 9 / 10 + 1, height),
            4 => (width * 2 / 5 + 1, height * 2 / 5 + 9),
            5 => (width * 3 / 2, height * 5 / 3),
            _ => (1, 1),
        }
    }

    fn check(jpeg: &[u8], kind: usize, helpers: usize, len: usize) -> Result<(), TestCaseError> {
        let mut gate = Gate::new(GateOptions::default());
        let picture = gate.pass(jpeg).expect("a picture");
        let size = window(&picture, kind);
        let pixels = in_strips(&picture, size, helpers, len).expect("an intact picture");
        prop_assert!(pixels == whole(&picture, size), "{:?}", size);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn the_pixels_are_those_of_the_whole_picture(
            width in 8usize..500,
            height in 8usize..700,
            is_420: bool,
            quality in 5i32..100,
            kind in 0usize..7,
            helpers in 0usize..4,
            len in 100usize..9000,
        ) {
            let subsamp = if is_420 { Subsamp::Sub2x2 } else { Subsamp::Sub2x1 };
            check(&encode(width, height, subsamp, quality), kind, helpers, len)?;
        }

        #[test]
        fn damage_is_refused_or_makes_no_difference(
            at in 0.0f64..1.0, value: u8, kind in 0usize..7, is_420: bool,
        ) {
            let subsamp = if is_420 { Subsamp::Sub2x2 } else { Subsamp::Sub2x1 };
            let jpeg = encode(400, 300, subsamp, 80);
            let mut gate = Gate::new(GateOptions::default());
            let picture = gate.pass(&jpeg).expect("a picture");
            let mut scan = picture.scan.to_vec();
            let place = (at * scan.len() as f64) as usize;
            scan[place] = value;
            let damaged = Picture { scan: &scan, ..picture };
            let size = window(&damaged, kind);
            if let Ok(pixels) = in_strips(&damaged, size, 1, 2000) {
                let mut jpeg = Vec::new();
                write_jpeg(&mut jpeg, &damaged);
                let mut whole = vec![9; size.0 * size.1];
                Decoder::new().expect("turbojpeg").decode(&jpeg, &mut whole, size).expect("pixels");
                prop_assert!(pixels == whole);
            }
        }
    }

    #[test]
    fn other_encoders_and_restart_markers_make_no_difference() {
        for name in [
            "cjpeg-420-restart-blocks.jpg",
            "cjpeg-422-optimised-restart.jpg",
            "cjpeg-422-restart.jpg",
            "cjpeg-4x1-2x1.jpg",
            "cjpeg-grey-restart.jpg",
            "ffmpeg-420.jpg",
            "ffmpeg-422.jpg",
        ] {
            for kind in 0..7 {
                check(&file(name), kind, 2, 700).expect("the same pixels");
            }
        }
    }

    #[test]
    fn a_scan_that_ends_early_or_is_given_up_is_no_picture() {
        struct GivenUp;
        impl Scan for GivenUp {
            fn next(&mut self, _: bool) -> Next<'_> {
                Next::GivenUp
            }
        }
        let jpeg = encode(400, 300, Subsamp::Sub2x1, 80);
        let mut gate = Gate::new(GateOptions::default());
        let picture = gate.pass(&jpeg).expect("a picture");
        let short = Picture {
            scan: &picture.scan[..picture.scan.len() / 2],
            ..picture
        };
        assert!(in_strips(&short, (400, 300), 2, 500).is_err());
        let mut strips = StripDecoder::new(1).expect("turbojpeg");
        let (head, mut pixels) = (Head::of(&picture), vec![0; 400 * 300]);
        assert!(
            strips
                .decode(&head, &mut GivenUp, &mut pixels, (400, 300))
                .is_err()
        );
        // And the next one is as good as ever.
        let mut scan = picture.scan;
        strips
            .decode(&head, &mut scan, &mut pixels, (400, 300))
            .expect("intact");
        assert!(pixels == whole(&picture, (400, 300)));
    }
}
